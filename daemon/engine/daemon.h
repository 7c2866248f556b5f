/* SPDX-License-Identifier: Apache-2.0 */
/* daemon.h - the process around the engine: signals, systemd, start and stop */
#ifndef ENGINE_DAEMON_H
#define ENGINE_DAEMON_H

struct config;
struct error;

/**
 * daemon_run() - Be the daemon until told to stop
 * @config:	Consumed
 * @path:	Where it was read from, for SIGHUP
 *
 * Return: the exit status
 */
int daemon_run(struct config *config, const char *path);

#endif /* ENGINE_DAEMON_H */
