/*
 * Notification coalescing of the software NIC. Ref: virtio 1.3, 5.1.6.5.9
 *
 * Whether the driver wants a notification is asked when it is due, not before: it may have asked for silence
 * meanwhile.
 */
#include "nic_impl.h"

void vdp_nic_set_calm(struct vdp_nic *nic, uint32_t index, uint32_t packets, uint32_t usecs)
{
	struct vdp_queue *queue = vdp_nic_queue(nic, index);

	if (!queue)
		return;
	queue->calm.packets = packets;
	queue->calm.wait_ns = packets == 1 ? 0 : usecs * (uint64_t)1000;
	queue->calm.due_ns = 0; /* what was held back by other rules is due */
	queue->calm.begin = queue->stats.packets;
	nic->calm = false;
	for (uint32_t i = 0; i < vdp_nic_queues(nic); i++)
		nic->calm |= nic->queues[i].calm.wait_ns > 0 || nic->queues[i].calm.owes;
}

void vdp_queue_owe(struct vdp_queue *queue, uint16_t since)
{
	struct vdp_calm *calm = &queue->calm;

	if (calm->owes)
		return;
	calm->owes = true;
	calm->since = since;
	calm->due_ns = vdp_now_ns(CLOCK_MONOTONIC) + calm->wait_ns;
}

static bool calm_is_due(const struct vdp_queue *queue, uint64_t now_ns)
{
	const struct vdp_calm *calm = &queue->calm;

	if (now_ns >= calm->due_ns)
		return true;
	return calm->packets > 0 && queue->stats.packets - calm->begin >= calm->packets;
}

void vdp_nic_pay(struct vdp_nic *nic)
{
	uint64_t now_ns = vdp_now_ns(CLOCK_MONOTONIC);

	for (uint32_t i = 0; i < vdp_nic_queues(nic); i++) {
		struct vdp_queue *queue = nic->queues + i;

		if (!queue->calm.owes || !queue->live || !calm_is_due(queue, now_ns))
			continue;
		queue->calm.owes = false;
		queue->calm.begin = queue->stats.packets;
		nic->serving = i;
		__atomic_thread_fence(__ATOMIC_SEQ_CST); /* as after any publish: net_flush */
		vdp_queue_call(queue, nic->net->wants_call(&queue->ring, queue->calm.since));
	}
}

uint64_t vdp_nic_next_due(const struct vdp_nic *nic)
{
	uint64_t due_ns = UINT64_MAX;

	for (uint32_t i = 0; i < vdp_nic_queues(nic); i++) {
		const struct vdp_calm *calm = &nic->queues[i].calm;

		if (calm->owes && calm->due_ns < due_ns)
			due_ns = calm->due_ns;
	}
	return due_ns;
}
