/*
 * What a guest's ring says, read the plain way from memory that rests: the device under test is compared with
 * it. Written from the specification, not from the device.
 */
#ifndef VDP_FUZZ_MODEL_H
#define VDP_FUZZ_MODEL_H

#include "arena.h"
#include "nic.h"

#define MODEL_MAX_SIZE   64u
#define MODEL_MAX_CHAINS (2 * MODEL_MAX_SIZE) /* some known, and a ring full of others */

struct model_queue {
	struct vdp_queue_conf conf;
	uint8_t *desc, *driver, *device; /* the ring, in the arena */
	uint32_t index;
	bool packed, writable; /* by the device */
	bool enabled;
};

struct model_chain {
	uint16_t position, slots, id;
	bool bad;        /* against the rules */
	bool unmapped;   /* not all of it is within reach */
	bool turned;     /* of a control queue: there is a writable part */
	uint64_t length; /* of all buffers */
	uint64_t readable;
	uint64_t reached; /* bytes of the queue's direction before the first that is not reached */
	bool ended;       /* there is such a byte */
};

struct model {
	struct model_chain chains[MODEL_MAX_CHAINS];
	uint32_t count;  /* available, up to the first that is against the rules */
	bool jump;       /* the available index is a lie (split) */
	bool taken_back; /* it went back behind what the device has seen: it may serve that, or not */
};

struct model_rules {
	bool indirect; /* negotiated */
	bool mixed;    /* readable before writable, as on a control queue */
	uint32_t shortest, longest;
};

/*
 * Read a queue from position on; seen: the available index that the device knows (split). Marks in the arena
 * what the device may write (buffers, used entries) and what it reads as structure.
 */
void model_read(struct model *ret, struct arena *arena, const struct model_queue *queue,
    const struct model_rules *rules, uint16_t position, uint16_t seen);

uint16_t model_advance(const struct model_queue *queue, uint16_t position, uint32_t slots);

/* A chain's used entry says what it must. length: 0, or up to what can be written. */
void model_check_used(
    const struct model_queue *queue, const struct model_chain *chain, uint16_t id, bool any);

#endif
