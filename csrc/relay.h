/* Kick relay: a thread that turns kick eventfds into doorbell writes, for functions that cannot do it alone.
 */
#ifndef VDP_RELAY_H
#define VDP_RELAY_H

#include <stdint.h>

#include "doorbell.h"

#define VDP_RELAY_MAX 512u

struct vdp_relay;

int vdp_relay_init(struct vdp_relay **ret);   /* starts the thread */
void vdp_relay_fini(struct vdp_relay *relay); /* joins it */

/*
 * Ring bell at each signal of fd (both borrowed, bell copied). slot is the queue. On return of vdp_relay_del
 * the thread does not use them any more. -EBUSY, -EINVAL, or what epoll_ctl says.
 */
int vdp_relay_add(struct vdp_relay *relay, uint32_t slot, int fd, const struct vdp_doorbell *bell);
int vdp_relay_del(struct vdp_relay *relay, uint32_t slot);
uint64_t vdp_relay_kicks(const struct vdp_relay *relay, uint32_t slot);

#endif
