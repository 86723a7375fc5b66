/* Split rings of a NIC that breaks one rule. */
#include "split_device.h"

#define NET_HEADERS 1
#define RING(name)  vdp_split_##name
#include "net_loops.h"

static struct vdp_buffer mutant_front(const struct vdp_ring *q);
static bool mutant_refuses(struct vdp_ring *q);
static void mutant_used(struct vdp_ring *q, uint16_t before, uint16_t id);
static bool mutant_publish(struct vdp_ring *q);
static bool mutant_wants_call(struct vdp_ring *q);
static void mutant_notify(struct vdp_ring *q, bool on);
static void mutant_look(struct vdp_ring *q);
#include "net_mutant.h"

static struct vdp_buffer mutant_front(const struct vdp_ring *q)
{
	return vdp_split_buffer(q->split.desc + (vdp_split_head(q, q->next) & q->mask));
}

static bool mutant_refuses(struct vdp_ring *q)
{
	struct vdp_buffer buffer = mutant_front(q);
	bool refuses = q->mutant == VDP_MUTANT_INDIRECT_WRITE && buffer.flags & VDP_DESC_INDIRECT &&
		       buffer.flags & VDP_DESC_WRITE;

	for (uint32_t i = 0; q->mutant == VDP_MUTANT_INDIRECT_BEHIND && i < q->size; i++) {
		if (!(buffer.flags & VDP_DESC_NEXT))
			break;
		buffer = vdp_split_buffer(q->split.desc + (buffer.link & q->mask));
		refuses |= buffer.flags & VDP_DESC_INDIRECT;
	}
	if (refuses)
		vdp_ring_fail(q, VDP_NIC_BAD_INDIRECT, buffer.length);
	return refuses;
}

static void mutant_used(struct vdp_ring *q, uint16_t before, uint16_t id)
{
	struct vdp_split_desc *desc = (struct vdp_split_desc *)q->split.desc;

	(void)before;
	if (q->mutant == VDP_MUTANT_WRITES_TABLE)
		desc[id & q->mask].length = 0;
}

static bool mutant_publish(struct vdp_ring *q)
{
	uint32_t *length = &q->split.used->ring[(uint16_t)(q->next - 1) & q->mask].length, right;

	if (q->mutant != VDP_MUTANT_LENGTH_LATE || q->flags || q->published == q->next)
		return vdp_split_publish(q);
	right = *length;
	__atomic_store_n(length, ~right, __ATOMIC_RELAXED);
	vdp_split_publish(q);
	mutant_wait();
	__atomic_store_n(length, right, __ATOMIC_RELAXED);
	return true;
}

static bool mutant_wants_call(struct vdp_ring *q)
{
	uint16_t event = __atomic_load_n(&q->split.avail->ring[q->size], __ATOMIC_RELAXED),
		 old = q->published;
	bool silent = __atomic_load_n(&q->split.avail->flags, __ATOMIC_RELAXED) & VDP_SPLIT_NO_INTERRUPT;
	bool wanted = vdp_split_wants_call(q);

	switch (q->mutant) {
	case VDP_MUTANT_HEEDS_USED_EVENT:
		return q->event_idx || !wanted ? wanted : vdp_split_crossed(event, q->next, old);
	case VDP_MUTANT_IGNORES_FLAGS:
		return wanted || !q->event_idx;
	case VDP_MUTANT_NEVER_NOTIFIES:
		return wanted && q->event_idx;
	case VDP_MUTANT_HEEDS_FLAGS:
		return wanted && !silent;
	case VDP_MUTANT_EVENT_WRAP:
		return q->event_idx ? event >= old && event < q->next : wanted;
	case VDP_MUTANT_ALWAYS_NOTIFIES:
		return true;
	default:
		return wanted;
	}
}

static void mutant_notify(struct vdp_ring *q, bool on)
{
	uint16_t seen = q->seen, *flags = &q->split.used->flags;

	if (q->mutant == VDP_MUTANT_AVAIL_EVENT)
		q->seen = (uint16_t)(seen + 0x4000);
	vdp_split_notify(q, on);
	q->seen = seen;
	if (q->mutant == VDP_MUTANT_USED_FLAGS && !q->event_idx)
		__atomic_store_n(flags, 2, __ATOMIC_RELAXED);
	if (q->mutant == VDP_MUTANT_USED_FLAGS_EVENT && q->event_idx)
		__atomic_store_n(flags, VDP_SPLIT_NO_NOTIFY, __ATOMIC_RELAXED);
}

static void mutant_look(struct vdp_ring *q)
{
	(void)q;
}

const struct vdp_net vdp_net_split_mutant = MUTANT_OPS;
