/* SPDX-License-Identifier: Apache-2.0 */
/* transfer.h - streams of data to and from the engine, through a pipe
 *
 * ImportImage, ImportSnapshot: the client's data goes into a pipe whose read
 * end the engine has. ExportSnapshot: the other way.
 */
#ifndef FRONT_TRANSFER_H
#define FRONT_TRANSFER_H

struct client;
struct grpc_call;

void transfer_import_image(struct client *client, struct grpc_call *call);
void transfer_import_snapshot(struct client *client, struct grpc_call *call);
void transfer_export_snapshot(struct client *client, struct grpc_call *call);

#endif /* FRONT_TRANSFER_H */
