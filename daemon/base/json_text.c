/* SPDX-License-Identifier: Apache-2.0 */
/* json_text.c - strings and times as JSON has them */
#include "base/json_text.h"

#include "base/utf8.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

void json_string(FILE *out, const char *s)
{
	size_t len = s ? strlen(s) : 0;
	uint32_t cp;

	fputc('"', out);
	for (size_t i = 0; i < len;) {
		size_t n = utf8_decode((const uint8_t *)s + i, len - i, &cp);

		if (n == 0) {
			fputs("\\ufffd", out);
			n = 1;
		} else if (cp == '"' || cp == '\\') {
			fprintf(out, "\\%c", (int)cp);
		} else if (cp == '\n') {
			fputs("\\n", out);
		} else if (cp == '\t') {
			fputs("\\t", out);
		} else if (cp < 0x20 || cp == 0x7f ||
			   (cp >= 0x80 && cp < 0xa0) || cp == 0x2028 ||
			   cp == 0x2029) {
			fprintf(out, "\\u%04x", (unsigned int)cp);
		} else {
			fwrite(s + i, 1, n, out);
		}
		i += n;
	}
	fputc('"', out);
}

void json_fraction(char dst[12], int32_t nanos)
{
	dst[0] = '\0';
	if (nanos <= 0 || nanos > 999999999)
		return;
	if (nanos % 1000000 == 0)
		snprintf(dst, 12, ".%03d", nanos / 1000000);
	else if (nanos % 1000 == 0)
		snprintf(dst, 12, ".%06d", nanos / 1000);
	else
		snprintf(dst, 12, ".%09d", nanos);
}

void json_time(char dst[JSON_TIME_MAX], int64_t seconds, int32_t nanos)
{
	time_t t = (time_t)seconds;
	struct tm tm;
	char date[24];
	char fraction[12];

	/* Years 1 to 9999, as RFC 3339 has them. */
	if (seconds < -62135596800 || seconds > 253402300799 ||
	    !gmtime_r(&t, &tm))
		t = 0, gmtime_r(&t, &tm);
	strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &tm);
	json_fraction(fraction, nanos);
	snprintf(dst, JSON_TIME_MAX, "%s%sZ", date, fraction);
}
