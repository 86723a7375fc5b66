/* Packed rings of a NIC that breaks one rule. */
#include "packed_device.h"

#define NET_HEADERS 1
#define RING(name)  vdp_packed_##name
#include "net_loops.h"

#define AVAIL_USED (VDP_PACKED_AVAIL | VDP_PACKED_USED)

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
	uint16_t flags = vdp_packed_flags(q, q->next, __ATOMIC_ACQUIRE);

	return vdp_packed_buffer(q->packed.desc + vdp_packed_at(q->next), flags);
}

static bool mutant_refuses(struct vdp_ring *q)
{
	(void)q;
	return false;
}

static void mutant_used(struct vdp_ring *q, uint16_t before, uint16_t id)
{
	(void)id;
	if (q->mutant == VDP_MUTANT_SKIPS_ONE)
		q->next = vdp_packed_after(q, before, 1);
	if (q->mutant == VDP_MUTANT_NO_WRAP)
		q->next = (uint16_t)((q->next & ~VDP_PACKED_WRAP) | (before & VDP_PACKED_WRAP));
}

static bool mutant_publish(struct vdp_ring *q)
{
	bool gap = q->mutant == VDP_MUTANT_USED_GAP;
	uint16_t at = gap ? vdp_packed_after(q, q->published, 1) : q->published;
	struct vdp_packed_desc *first = q->packed.desc + vdp_packed_at(at);

	if (q->published == q->next || (!gap && (q->mutant != VDP_MUTANT_FLAGS_FIRST || q->flags)))
		return vdp_packed_publish(q);
	if (!gap) {
		__atomic_store_n(&first->flags, (uint16_t)(q->held >> 48), __ATOMIC_RELEASE);
		mutant_wait();
	}
	__atomic_store_n((uint64_t *)&first->length, q->held, __ATOMIC_RELEASE);
	return true;
}

static bool mutant_wants_call(struct vdp_ring *q)
{
	return vdp_packed_wants_call(q) || q->mutant == VDP_MUTANT_DEAF;
}

static void mutant_notify(struct vdp_ring *q, bool on)
{
	vdp_packed_notify(q, on);
}

static void mutant_look(struct vdp_ring *q)
{
	uint16_t *word = &q->packed.desc[vdp_packed_at(q->next)].flags;
	uint16_t flags = __atomic_load_n(word, __ATOMIC_RELAXED);

	if (q->mutant == VDP_MUTANT_ANY_WRAP && !(flags & VDP_PACKED_AVAIL) != !(flags & VDP_PACKED_USED))
		__atomic_store_n(word, (uint16_t)((flags & ~AVAIL_USED) | vdp_packed_avail_flags(q->next)),
		    __ATOMIC_RELAXED);
}

const struct vdp_net vdp_net_packed_mutant = MUTANT_OPS;
