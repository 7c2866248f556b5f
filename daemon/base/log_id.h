/* SPDX-License-Identifier: Apache-2.0 */
/* log_id.h - MESSAGE_IDs of the lines that packaging/sandboxd.catalog explains
 *
 * Never change one; a new line gets a new random number.
 */
#ifndef BASE_LOG_ID_H
#define BASE_LOG_ID_H

#define LOG_ID_START_FAILED   "6b8def80b7824a458f421eea4732958c"
#define LOG_ID_READY          "dda25e950e3e43e883a0bae0efedbbde"
#define LOG_ID_STOPPING       "4afe0769bb194c3cacfda0c14613386a"
#define LOG_ID_EMULATED       "3ef36575f1754286a8a28bbcc06a548d"
#define LOG_ID_HELPER_GONE    "a26e800263d24139b9feef410fcb2e74"
#define LOG_ID_LIBVIRT_LOST   "077236088ae4473eb59177ee2f652d5d"
#define LOG_ID_LIBVIRT_BACK   "2d6de80856bd4a588c47876f46433e53"
#define LOG_ID_RUNNING        "c6387ea63cf34b508e09ee5c02bd5432"
#define LOG_ID_PAUSED         "09e61ac504b3440095fd0f77f9508da9"
#define LOG_ID_TERMINATED     "212d4c8bbc1c4c9fbb6b9cb239ea3b7d"
#define LOG_ID_GUEST_LOST     "5e8ec56036914f698b4471ff9d8317ca"
#define LOG_ID_CALL_FAILED    "ae9bdf67f90b4e44851e31eb104236e0"
#define LOG_ID_AGENT_BROKEN   "ee772736c6554ee2aa89f5ae0115288c"
#define LOG_ID_AGENT_UNWELL   "be9fa38c1440f9cbb54d9e63b7dd82cf"
#define LOG_ID_CONFIG_REFUSED "824d3fad0e2c45c9aa4e7ed36b456dd9"
#define LOG_ID_WEBHOOK_LOST   "07c293ecd44f4dbfbc20055327aaa8ed"
#define LOG_ID_FOREIGN        "87d94cbe0e15479da83877f3245995dc"

#endif /* BASE_LOG_ID_H */
