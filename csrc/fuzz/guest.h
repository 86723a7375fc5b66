/* A driver that writes rings from a fuzzer's bytes: sane for the most part, so that lies get far. */
#ifndef VDP_FUZZ_GUEST_H
#define VDP_FUZZ_GUEST_H

#include "model.h"

struct guest {
	struct arena *arena;
	struct model_queue queue[ARENA_QUEUES];
	uint16_t next[ARENA_QUEUES]; /* to offer at: an index, or a position */
	uint16_t slot[ARENA_QUEUES]; /* split: the descriptor to write next */
};

/* Sizes and beginnings from the input; the arena is opened for them. All queues are enabled. */
void guest_open(struct guest *guest, struct arena *arena, struct fuzz_input *in, bool packed);
/* Its rings as new, at a position of the input's. */
void guest_restart(struct guest *guest, struct fuzz_input *in, uint32_t queue);

/* A chain of some buffers, direct or in a table; mixed: readable ones, then writable ones. */
void guest_chain(struct guest *guest, struct fuzz_input *in, uint32_t queue, bool mixed);

/* A frame of TCP or UDP to send, whose virtio header asks for offloads: sane for the most part. */
void guest_frame(struct guest *guest, struct fuzz_input *in);

/* One of many small lies: a descriptor, a table's entry, an index, flags, an event, any bytes anywhere. */
void guest_lie(struct guest *guest, struct fuzz_input *in, uint32_t queue);

#endif
