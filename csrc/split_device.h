/* The device's half of a split virtqueue. Ref: virtio 1.3, 2.7 */
#ifndef VDP_SPLIT_DEVICE_H
#define VDP_SPLIT_DEVICE_H

#include "device_ring.h"

static inline bool vdp_split_size_ok(const struct vdp_queue_conf *conf)
{
	uint16_t size = conf->size;

	return size > 0 && size <= VDP_SPLIT_MAX_SIZE && !(size & (size - 1));
}

bool vdp_split_attach(struct vdp_ring *q, const struct vdp_queue_conf *conf, bool report);

int vdp_split_read(
    struct vdp_ring *q, uint16_t at, uint32_t keep, struct vdp_piece *pieces, struct vdp_chain *chain);

/* How many entries wait, at least want if there are so many. */
static inline uint16_t vdp_split_available(struct vdp_ring *q, uint16_t want)
{
	uint16_t n = (uint16_t)(q->seen - q->next);

	if (n >= want)
		return n;
	q->seen = __atomic_load_n(&q->split.avail->idx, __ATOMIC_ACQUIRE);
	n = (uint16_t)(q->seen - q->next);
	if (VDP_LIKELY(n <= q->size))
		return n;
	vdp_ring_fail(q, VDP_NIC_AVAIL_JUMP, q->seen);
	q->seen = q->next;
	return 0;
}

/* How many to look at in one go: up to the end of the ring. */
static inline uint16_t vdp_split_ready(struct vdp_ring *q, uint16_t want)
{
	uint16_t left = (uint16_t)(q->size - (q->next & q->mask));

	if (left < want)
		want = left;
	left = vdp_split_available(q, want);
	return left < want ? left : want;
}

static inline uint16_t vdp_split_after(const struct vdp_ring *q, uint16_t at, uint32_t slots)
{
	(void)q;
	return (uint16_t)(at + slots);
}

static inline uint16_t vdp_split_head(const struct vdp_ring *q, uint16_t at)
{
	return __atomic_load_n(&q->split.avail->ring[at & q->mask], __ATOMIC_RELAXED);
}

static inline struct vdp_buffer vdp_split_buffer(const void *desc)
{
	const volatile uint64_t *from = (const volatile uint64_t *)desc;
	uint64_t low = from[0], high = from[1];

	return (struct vdp_buffer){
	    .addr = low,
	    .length = (uint32_t)high,
	    .flags = (uint16_t)(high >> 32),
	    .link = (uint16_t)(high >> 48),
	};
}

/* What lies side by side from next on, as far as vdp_split_ready said: all that a loop needs of the ring. */
struct vdp_split_run {
	const struct vdp_split_desc *desc; /* all of them */
	const uint16_t *heads;
	void *used;
	uint16_t size, flags;
};

static inline struct vdp_split_run vdp_split_run(const struct vdp_ring *q)
{
	uint16_t at = q->next & q->mask;

	return (struct vdp_split_run){
	    .desc = q->split.desc,
	    .heads = q->split.avail->ring + at,
	    .used = q->split.used->ring + at,
	    .size = q->size,
	    .flags = q->flags,
	};
}

/* n entries are wanted soon: have them come, and what says how many there are. */
static inline void vdp_split_expect(const struct vdp_ring *q, uint32_t n)
{
	(void)n; /* the processor goes on where we begin */
	vdp_prefetch(&q->split.avail->idx);
	vdp_prefetch(q->split.avail->ring + (q->next & q->mask));
}

/* And the descriptors that the first n entries name; n from vdp_split_ready. */
static inline void vdp_split_prefetch(const struct vdp_ring *q, uint32_t n)
{
	const struct vdp_split_run run = vdp_split_run(q);

	for (uint32_t i = 0; i < n; i++)
		vdp_prefetch(run.desc + (__atomic_load_n(run.heads + i, __ATOMIC_RELAXED) & (run.size - 1u)));
}

/* The one descriptor of a chain that needs no more; its link is the head then. */
static inline bool vdp_split_plain(const struct vdp_split_run *run, uint32_t i, struct vdp_buffer *buffer)
{
	uint16_t head = __atomic_load_n(run->heads + i, __ATOMIC_RELAXED);

	if (VDP_UNLIKELY(head >= run->size))
		return false;
	*buffer = vdp_split_buffer(run->desc + head);
	buffer->link = head;
	return VDP_LIKELY(buffer->flags == run->flags);
}

/* Its used element; the driver does not see it yet. */
static inline void vdp_split_set(
    struct vdp_ring *q, const struct vdp_split_run *run, uint32_t i, uint16_t head, uint32_t length)
{
	uint64_t element = (uint64_t)length << 32 | head;

	(void)q;
	__builtin_memcpy((uint64_t *)run->used + i, &element, sizeof(element));
}

/* The same for one index. */
static inline void vdp_split_put(struct vdp_ring *q, uint16_t at, uint16_t head, uint32_t length)
{
	uint64_t element = (uint64_t)length << 32 | head;

	__builtin_memcpy(&q->split.used->ring[at & q->mask], &element, sizeof(element));
}

/* The same for all since the last publish, with the head of the last. Ref: 2.7.9 */
static inline void vdp_split_put_batch(struct vdp_ring *q, uint16_t head)
{
	vdp_split_put(q, q->published, head, 0);
}

/* Tell the driver of what was used since the last time. Returns false when that is nothing. */
static inline bool vdp_split_publish(struct vdp_ring *q)
{
	if (q->published == q->next)
		return false;
	__atomic_store_n(&q->split.used->idx, q->next, __ATOMIC_RELEASE);
	return true;
}

/* After vdp_split_publish and a full fence: does the driver want an interrupt? Ref: 2.7.7.2 */
static inline bool vdp_split_wants_call(struct vdp_ring *q)
{
	const struct vdp_split_avail *avail = q->split.avail;
	uint16_t old = q->published;

	q->published = q->next;
	if (q->event_idx)
		return vdp_split_crossed(
		    __atomic_load_n(&avail->ring[q->size], __ATOMIC_RELAXED), q->next, old);
	return !(__atomic_load_n(&avail->flags, __ATOMIC_RELAXED) & VDP_SPLIT_NO_INTERRUPT);
}

static inline bool vdp_split_moved(const struct vdp_ring *q)
{
	return __atomic_load_n(&q->split.avail->idx, __ATOMIC_RELAXED) != q->seen;
}

static inline void vdp_split_notify(struct vdp_ring *q, bool on)
{
	struct vdp_split_used *used = q->split.used;

	if (!q->event_idx)
		__atomic_store_n(&used->flags, on ? 0 : VDP_SPLIT_NO_NOTIFY, __ATOMIC_RELAXED);
	else if (on)
		__atomic_store_n((uint16_t *)&used->ring[q->size], q->seen, __ATOMIC_RELAXED);
}

#endif
