#include "model.h"

#include <string.h>

#include "packed_ring.h"
#include "split_ring.h"

struct entry {
	uint64_t addr;
	uint32_t length;
	uint16_t flags, link;
};

struct reading {
	struct arena *arena;
	const struct model_queue *queue;
	const struct model_rules *rules;
	struct model_chain *chain;
};

static uint16_t load16(const uint8_t *at)
{
	uint16_t value;

	memcpy(&value, at, sizeof(value));
	return value;
}

static struct entry entry_of(const uint8_t *bytes, bool packed)
{
	struct entry entry;

	memcpy(&entry.addr, bytes, 8);
	memcpy(&entry.length, bytes + 8, 4);
	entry.link = load16(bytes + (packed ? 12 : 14));
	entry.flags = load16(bytes + (packed ? 14 : 12));
	return entry;
}

static bool bad(struct reading *reading)
{
	reading->chain->bad = true;
	return false;
}

uint16_t model_advance(const struct model_queue *queue, uint16_t position, uint32_t slots)
{
	uint32_t at = position & 0x7fff, wrap = position & 0x8000;

	if (!queue->packed)
		return (uint16_t)(position + slots);
	at += slots;
	if (at >= queue->conf.size) {
		at -= queue->conf.size;
		wrap ^= 0x8000;
	}
	return (uint16_t)(at | wrap);
}

/* One buffer more; false when that breaks the rules. */
static bool add(struct reading *reading, const struct entry *entry)
{
	struct model_chain *chain = reading->chain;
	bool write = entry->flags & VDP_DESC_WRITE;
	uint32_t reached;

	if (!reading->rules->mixed && write != reading->queue->writable)
		return bad(reading);
	if (reading->rules->mixed && chain->turned && !write)
		return bad(reading);
	if (entry->addr + entry->length < entry->addr)
		return bad(reading);
	chain->turned |= write;
	chain->length += entry->length;
	if (!write)
		chain->readable += entry->length;
	if (chain->length > reading->rules->longest)
		return bad(reading);
	reached = arena_mark(reading->arena, entry->addr, entry->length, write ? VDP_DMA_WRITE : VDP_DMA_READ,
	    write ? ARENA_BUFFER : 0);
	if (!chain->ended && write == reading->queue->writable) {
		chain->reached += reached;
		chain->ended = reached < entry->length;
	}
	chain->unmapped |= reached < entry->length;
	return true;
}

static bool load(struct reading *reading, uint64_t iova, struct entry *entry)
{
	uint8_t bytes[16];

	if (!arena_read(reading->arena, iova, bytes, sizeof(bytes), VDP_DMA_READ)) {
		reading->chain->unmapped = true;
		return bad(reading);
	}
	arena_mark(reading->arena, iova, sizeof(bytes), VDP_DMA_READ, ARENA_STRUCTURE);
	*entry = entry_of(bytes, reading->queue->packed);
	return true;
}

/* A table, which a packed ring takes in order and a split one follows from entry 0 on. */
static void read_table(struct reading *reading, const struct entry *table, bool allowed)
{
	uint32_t count = table->length / 16, at = 0;

	if (!allowed || !reading->rules->indirect || table->length % 16 || !count ||
	    count > reading->queue->conf.size || table->addr + table->length < table->addr) {
		bad(reading);
		return;
	}
	for (uint32_t i = 0; i < count; i++) {
		struct entry entry;

		if (!load(reading, table->addr + at * (uint64_t)16, &entry))
			return;
		if (entry.flags & VDP_DESC_INDIRECT) {
			bad(reading);
			return;
		}
		/* A packed table that is sent may have WRITE: it means nothing there. */
		if (reading->queue->packed && !reading->rules->mixed && !reading->queue->writable)
			entry.flags &= (uint16_t)~VDP_DESC_WRITE;
		if (!add(reading, &entry))
			return;
		if (reading->queue->packed) {
			at++;
			continue;
		}
		if (!(entry.flags & VDP_DESC_NEXT))
			return;
		at = entry.link;
		if (at >= count)
			break;
	}
	if (!reading->queue->packed)
		bad(reading); /* a loop, or out of the table */
}

static void read_split(struct reading *reading)
{
	const struct model_queue *queue = reading->queue;
	uint16_t at = load16(queue->driver + 4 + 2 * (reading->chain->position % queue->conf.size));

	reading->chain->id = at;
	reading->chain->slots = 1;
	for (uint32_t i = 0; i < queue->conf.size; i++) {
		struct entry entry;

		if (at >= queue->conf.size)
			break;
		entry = entry_of(queue->desc + 16 * at, false);
		if (entry.flags & VDP_DESC_INDIRECT) {
			read_table(reading, &entry, !(entry.flags & VDP_DESC_NEXT));
			return;
		}
		if (!add(reading, &entry) || !(entry.flags & VDP_DESC_NEXT))
			return;
		at = entry.link;
	}
	bad(reading);
}

static bool packed_available(const struct model_queue *queue, uint16_t position)
{
	uint16_t flags = load16(queue->desc + 16 * (position & 0x7fff) + 14);
	bool wrap = position & 0x8000;

	return !!(flags & VDP_PACKED_AVAIL) == wrap && !!(flags & VDP_PACKED_USED) != wrap;
}

static void read_packed(struct reading *reading)
{
	const struct model_queue *queue = reading->queue;
	struct model_chain *chain = reading->chain;
	uint16_t at = chain->position;

	while (chain->slots < queue->conf.size && packed_available(queue, at)) {
		struct entry entry = entry_of(queue->desc + 16 * (at & 0x7fff), true);

		chain->slots++;
		chain->id = entry.link;
		if (entry.flags & VDP_PACKED_INDIRECT) {
			read_table(reading, &entry, chain->slots == 1 && !(entry.flags & VDP_PACKED_NEXT));
			return;
		}
		if (!add(reading, &entry) || !(entry.flags & VDP_PACKED_NEXT))
			return;
		at = model_advance(queue, at, 1);
	}
	bad(reading);
}

static void mark_ring(struct arena *arena, const struct model_queue *queue)
{
	uint32_t size = queue->conf.size;

	arena_mark_host(arena, queue->desc, 16 * size, ARENA_STRUCTURE);
	arena_mark_host(arena, queue->driver, queue->packed ? 4 : 6 + 2 * size, ARENA_STRUCTURE);
	arena_mark_host(arena, queue->device, queue->packed ? 4 : 6 + 8 * size, ARENA_STRUCTURE);
	if (!queue->packed)
		arena_mark_host(arena, queue->device + 2, 2, ARENA_RING);
}

/* The used entry of what was available at a position. */
static void mark_used(struct arena *arena, const struct model_queue *queue, const struct model_chain *chain)
{
	uint16_t at = chain->position;

	if (queue->packed)
		arena_mark_host(arena, queue->desc + 16 * (at & 0x7fff) + 8, 8, ARENA_RING);
	else
		arena_mark_host(arena, queue->device + 4 + 8 * (at % queue->conf.size), 8, ARENA_RING);
}

static uint32_t split_waiting(
    struct model *ret, const struct model_queue *queue, uint16_t position, uint16_t seen)
{
	uint16_t known = (uint16_t)(seen - position), now = (uint16_t)(load16(queue->driver + 2) - position);

	ret->jump = now > queue->conf.size;
	ret->taken_back = now < known;
	/* A device that takes what it knows first, and then looks, may find the rest to be in order. */
	if (ret->jump && (uint16_t)(now - known) > queue->conf.size)
		return known;
	return now > known ? now : known; /* what was seen may be taken, whatever the index says now */
}

void model_read(struct model *ret, struct arena *arena, const struct model_queue *queue,
    const struct model_rules *rules, uint16_t position, uint16_t seen)
{
	uint32_t waiting = queue->conf.size, slots = 0;

	memset(ret, 0, sizeof(*ret));
	if (!queue->enabled)
		return;
	mark_ring(arena, queue);
	if (!queue->packed)
		waiting = split_waiting(ret, queue, position, seen);
	while (slots < waiting && ret->count < MODEL_MAX_CHAINS) {
		struct model_chain *chain = ret->chains + ret->count;
		struct reading reading = {arena, queue, rules, chain};

		if (queue->packed && !packed_available(queue, position))
			return;
		chain->position = position;
		if (queue->packed)
			read_packed(&reading);
		else
			read_split(&reading);
		if (chain->length < rules->shortest)
			chain->bad = true;
		ret->count++;
		if (chain->bad)
			return;
		mark_used(arena, queue, chain);
		slots += chain->slots;
		position = model_advance(queue, position, chain->slots);
	}
}

void model_check_used(const struct model_queue *queue, const struct model_chain *chain, uint16_t id, bool any)
{
	const uint8_t *split = queue->device + 4 + 8 * (chain->position % queue->conf.size);
	const uint8_t *packed = queue->desc + 16 * (chain->position & 0x7fff);
	uint32_t length, head = id;

	if (queue->packed) {
		uint16_t both = chain->position & 0x8000 ? VDP_PACKED_AVAIL | VDP_PACKED_USED : 0;

		FUZZ_RULE((load16(packed + 14) & (VDP_PACKED_AVAIL | VDP_PACKED_USED)) == both);
		head = load16(packed + 12);
		memcpy(&length, packed + 8, 4);
	} else {
		memcpy(&head, split, 4);
		memcpy(&length, split + 4, 4);
	}
	FUZZ_RULE(head == id);
	FUZZ_RULE(length <= (queue->writable ? chain->reached : 0) && (length > 0) <= any);
}
