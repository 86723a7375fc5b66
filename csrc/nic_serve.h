/* One poll of a NIC. In the worker's loop, not called from it: an idle poll is hardly more than a call. */
#ifndef VDP_NIC_SERVE_H
#define VDP_NIC_SERVE_H

#include "nic_impl.h"

static inline uint32_t nic_poll(struct vdp_nic *nic)
{
	uint32_t moved = 0;

	for (uint32_t i = 0; i < nic->active_pairs && nic->error.code == VDP_NIC_OK; i++)
		moved += nic->port->poll(nic, nic->pairs + i);
	return moved;
}

#define NIC_SHORT    32u   /* frames: drivers mostly offer more at once */
#define NIC_REST_MAX 4096u /* ticks */

/*
 * After a short burst the driver is probably about to offer more: to take each frame by itself costs both
 * sides more than to take them together, since each look moves the ring's lines to our processor and back. So
 * wait for twice the time that the burst took, unless somebody else is waiting for us.
 */
static inline void nic_gather(const struct vdp_nic *nic, uint32_t moved, uint64_t end, uint64_t took)
{
	uint64_t rest = took < NIC_REST_MAX / 2 ? took * 2 : NIC_REST_MAX;

	if (moved >= NIC_SHORT || nic->active_pairs > 1 || nic->worker->polled_count > 1)
		return;
	while (vdp_tsc() - end < rest)
		vdp_relax();
}

/* Returns false when it may sleep until its wake_ns. */
static inline bool vdp_nic_serve(struct vdp_nic *nic, struct vdp_worker_stats *stats)
{
	uint64_t begin = vdp_tsc(), end;
	uint32_t moved = nic_poll(nic);
	bool rest = false;

	vdp_count(&stats->polls, 1);
	if (moved > 0) {
		vdp_count(&stats->packets, moved);
		end = vdp_tsc();
		vdp_count(&stats->busy_cycles, end - begin);
		nic->idle_since_ns = 0;
		nic_gather(nic, moved, end, end - begin);
	} else {
		vdp_count(&stats->empty_polls, 1);
		vdp_relax();
		if (nic->conf.poll_us != UINT32_MAX && nic->error.code == VDP_NIC_OK)
			rest = vdp_nic_idle(nic);
	}
	if (VDP_UNLIKELY(nic->calm))
		vdp_nic_pay(nic);
	if (VDP_LIKELY(nic->error.code == VDP_NIC_OK))
		return !rest;
	vdp_nic_report(nic);
	return false;
}

#endif
