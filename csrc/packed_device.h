/* The device's half of a packed virtqueue. Ref: virtio 1.3, 2.8 */
#ifndef VDP_PACKED_DEVICE_H
#define VDP_PACKED_DEVICE_H

#include "device_ring.h"

static inline bool vdp_packed_size_ok(const struct vdp_queue_conf *conf)
{
	uint16_t size = conf->size;

	return size > 0 && size <= VDP_PACKED_MAX_SIZE && vdp_packed_at(conf->last_avail) < size;
}

bool vdp_packed_attach(struct vdp_ring *q, const struct vdp_queue_conf *conf, bool report);

int vdp_packed_read(
    struct vdp_ring *q, uint16_t at, uint32_t keep, struct vdp_piece *pieces, struct vdp_chain *chain);

static inline uint16_t vdp_packed_flags(const struct vdp_ring *q, uint16_t at, int order)
{
	return __atomic_load_n(&q->packed.desc[vdp_packed_at(at)].flags, order);
}

static inline uint16_t vdp_packed_after(const struct vdp_ring *q, uint16_t at, uint32_t slots)
{
	return vdp_packed_advance(at, slots, q->size);
}

/* How many descriptors wait, up to want. */
static inline uint16_t vdp_packed_available(struct vdp_ring *q, uint16_t want)
{
	uint16_t n = 0, at = q->next;

	while (n < want && vdp_packed_is_avail(vdp_packed_flags(q, at, __ATOMIC_RELAXED), at)) {
		at = vdp_packed_after(q, at, 1);
		n++;
	}
	q->seen = at;
	return n;
}

/* How many to look at in one go: up to the end of the ring, whether they are available or not. */
static inline uint16_t vdp_packed_ready(struct vdp_ring *q, uint16_t want)
{
	uint16_t left = (uint16_t)(q->size - vdp_packed_at(q->next));

	return left < want ? left : want;
}

/* What the flags said is complete: they are loaded first, and not again. */
static inline struct vdp_buffer vdp_packed_buffer(const void *desc, uint16_t flags)
{
	const volatile uint64_t *from = (const volatile uint64_t *)desc;
	uint64_t low = from[0], high = from[1];

	return (struct vdp_buffer){
	    .addr = low,
	    .length = (uint32_t)high,
	    .link = (uint16_t)(high >> 32),
	    .flags = flags,
	};
}

/* The upper half of a used descriptor. */
static inline uint64_t vdp_packed_used_word(const struct vdp_ring *q, uint16_t at)
{
	return (uint64_t)(vdp_packed_used_flags(at) | q->flags) << 48;
}

/* What lies side by side from next on: all that a loop below vdp_packed_ready needs of the ring. */
struct vdp_packed_run {
	struct vdp_packed_desc *desc;
	uint64_t used;    /* as vdp_packed_used_word */
	uint16_t offered; /* flags of a plain descriptor that is available */
	bool held;        /* the first is the one that the driver may see last */
};

static inline struct vdp_packed_run vdp_packed_run(const struct vdp_ring *q)
{
	return (struct vdp_packed_run){
	    .desc = q->packed.desc + vdp_packed_at(q->next),
	    .used = vdp_packed_used_word(q, q->next),
	    .offered = vdp_packed_avail_flags(q->next) | q->flags,
	    .held = q->next == q->published,
	};
}

/* n descriptors are wanted soon: have them come. */
static inline void vdp_packed_expect(const struct vdp_ring *q, uint32_t n)
{
	const struct vdp_packed_desc *desc = q->packed.desc + vdp_packed_at(q->next);

	for (uint32_t i = 0; i < n; i += VDP_CACHE_LINE / sizeof(*desc))
		vdp_prefetch(desc + i);
}

static inline void vdp_packed_prefetch(const struct vdp_ring *q, uint32_t n)
{
	(void)q; /* they lie side by side: the processor sees to that */
	(void)n;
}

/* Is the descriptor available, and a chain that needs no more? */
static inline bool vdp_packed_plain(const struct vdp_packed_run *run, uint32_t i, struct vdp_buffer *buffer)
{
	const struct vdp_packed_desc *desc = run->desc + i;
	/* Flags, id and length in one load: the address comes after them. */
	uint64_t high = __atomic_load_n((const uint64_t *)&desc->length, __ATOMIC_ACQUIRE);

	*buffer = (struct vdp_buffer){
	    .addr = __atomic_load_n(&desc->addr, __ATOMIC_RELAXED),
	    .length = (uint32_t)high,
	    .link = (uint16_t)(high >> 32),
	    .flags = (uint16_t)(high >> 48),
	};
	return VDP_LIKELY(buffer->flags == run->offered);
}

/*
 * Write the used descriptor. The driver looks at them in their order, so it sees none of them before the one
 * at published, which is kept back.
 */
static inline void vdp_packed_set(
    struct vdp_ring *q, const struct vdp_packed_run *run, uint32_t i, uint16_t id, uint32_t length)
{
	uint64_t word = run->used | (uint64_t)id << 32 | length;

	if (i == 0 && run->held)
		q->held = word;
	else
		__atomic_store_n((uint64_t *)&run->desc[i].length, word, __ATOMIC_RELAXED);
}

/* The same for one position. */
static inline void vdp_packed_put(struct vdp_ring *q, uint16_t at, uint16_t id, uint32_t length)
{
	uint64_t word = vdp_packed_used_word(q, at) | (uint64_t)id << 32 | length;

	if (at == q->published)
		q->held = word;
	else
		__atomic_store_n(
		    (uint64_t *)&q->packed.desc[vdp_packed_at(at)].length, word, __ATOMIC_RELAXED);
}

/* The same for all since the last publish, with the id of the last. Ref: 2.8.7 */
static inline void vdp_packed_put_batch(struct vdp_ring *q, uint16_t id)
{
	vdp_packed_put(q, q->published, id, 0);
}

/* Tell the driver of what was used since the last time. Returns false when that is nothing. */
static inline bool vdp_packed_publish(struct vdp_ring *q)
{
	struct vdp_packed_desc *first = q->packed.desc + vdp_packed_at(q->published);

	if (q->published == q->next)
		return false;
	__atomic_store_n((uint64_t *)&first->length, q->held, __ATOMIC_RELEASE);
	return true;
}

/* After vdp_packed_publish and a full fence: does the driver want an interrupt? */
static inline bool vdp_packed_wants_call(struct vdp_ring *q)
{
	uint32_t event = __atomic_load_n((const uint32_t *)q->packed.driver, __ATOMIC_RELAXED);
	uint16_t old = q->published;

	q->published = q->next;
	return vdp_packed_wants((uint16_t)(event >> 16), (uint16_t)event, old, q->next, q->size);
}

static inline bool vdp_packed_moved(const struct vdp_ring *q)
{
	return vdp_packed_is_avail(vdp_packed_flags(q, q->seen, __ATOMIC_RELAXED), q->seen);
}

static inline void vdp_packed_notify(struct vdp_ring *q, bool on)
{
	uint32_t flags = VDP_PACKED_EVENT_DISABLE;

	if (on)
		flags = q->event_idx ? VDP_PACKED_EVENT_DESC : VDP_PACKED_EVENT_ENABLE;
	__atomic_store_n((uint32_t *)q->packed.device, flags << 16 | q->seen, __ATOMIC_RELAXED);
}

#endif
