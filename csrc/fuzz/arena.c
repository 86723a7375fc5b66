#include "arena.h"

#include <string.h>

#include "dirty.h"

/* tools/fuzz says so by hand: this file, which copies and compares all memory, is not instrumented there. */
#if defined(VDP_FUZZ_ASAN) || defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>

/* Not the macros, which do nothing in a file without instrumentation. */
static void arena_guard(const uint8_t *at, uint32_t length, bool on)
{
	if (on)
		__asan_poison_memory_region(at, length);
	else
		__asan_unpoison_memory_region(at, length);
}
#else
static void arena_guard(const uint8_t *at, uint32_t length, bool on)
{
	(void)at;
	(void)length;
	(void)on;
}
#endif

static const struct {
	uint64_t iova;
	uint32_t length, perm;
} layout[ARENA_AREAS - ARENA_TABLES] = {
    {0x30000, 2056, 3},
    {0x30808, 2040, 3},
    {0x20000, 4096, 3},
    {0x21000, 4096, 3},
    {0x22000, 4096, VDP_DMA_READ},
    {0x24000, 4096, VDP_DMA_WRITE},
};

static struct arena_region arena_ring(uint32_t part, uint32_t bytes, bool packed, bool strict)
{
	static const uint32_t split_perms[] = {VDP_DMA_READ, VDP_DMA_READ, VDP_DMA_WRITE};
	static const uint32_t packed_perms[] = {3, VDP_DMA_READ, VDP_DMA_WRITE};
	uint32_t perm = (packed ? packed_perms : split_perms)[part % ARENA_PARTS];

	return (struct arena_region){
	    .iova = 0x10000 + part * (uint64_t)ARENA_AREA_BYTES,
	    .length = bytes,
	    .perm = strict ? perm : 3,
	};
}

void arena_open(struct arena *arena, const uint32_t *ring_bytes, bool packed, bool strict)
{
	arena_guard(arena->bytes, ARENA_BYTES, false);
	memset(arena->bytes, 0, ARENA_BYTES);
	arena_guard(arena->bytes, ARENA_BYTES, true);
	FUZZ_RULE(vdp_dma_init(&arena->dma) == 0);
	for (uint32_t i = 0; i < ARENA_AREAS; i++) {
		struct arena_region *region = arena->region + i;

		if (i < ARENA_TABLES)
			*region = arena_ring(i, ring_bytes[i], packed, strict);
		else
			*region = (struct arena_region){.iova = layout[i - ARENA_TABLES].iova,
			    .length = layout[i - ARENA_TABLES].length,
			    .perm = layout[i - ARENA_TABLES].perm};
		region->host = arena->bytes + i * (ARENA_AREA_BYTES + ARENA_GAP);
		arena_guard(region->host, region->length, false);
		FUZZ_RULE(
		    vdp_dma_map(arena->dma, region->iova, region->length, region->host, region->perm) == 0);
	}
}

void arena_close(struct arena *arena)
{
	vdp_dma_fini(arena->dma);
	arena->dma = NULL;
}

void arena_remap(struct arena *arena, uint32_t area, uint32_t perm)
{
	struct arena_region *region = arena->region + area;

	if (region->perm)
		FUZZ_RULE(vdp_dma_unmap(arena->dma, region->iova, region->length) == 0);
	region->perm = perm;
	if (perm)
		FUZZ_RULE(vdp_dma_map(arena->dma, region->iova, region->length, region->host, perm) == 0);
}

/* The host's address of iova, and how many bytes follow it there; NULL: the device does not reach it. */
static uint8_t *arena_find(const struct arena *arena, uint64_t iova, uint32_t perm, uint32_t *run)
{
	for (uint32_t i = 0; i < ARENA_AREAS; i++) {
		const struct arena_region *region = arena->region + i;

		if (iova < region->iova || iova - region->iova >= region->length ||
		    (region->perm & perm) != perm)
			continue;
		*run = region->length - (uint32_t)(iova - region->iova);
		return region->host + (iova - region->iova);
	}
	return NULL;
}

bool arena_read(const struct arena *arena, uint64_t iova, void *to, uint32_t length, uint32_t perm)
{
	uint32_t done = 0, run;

	while (done < length) {
		const uint8_t *from = arena_find(arena, iova + done, perm, &run);

		if (!from)
			return false;
		run = run < length - done ? run : length - done;
		memcpy((uint8_t *)to + done, from, run);
		done += run;
	}
	return true;
}

void arena_mark_host(struct arena *arena, const void *at, uint32_t length, uint8_t mark)
{
	uint8_t *marks = arena->marks + ((const uint8_t *)at - arena->bytes);
	uint8_t others = ARENA_RING | ARENA_STRUCTURE | ARENA_BUFFER | ARENA_LOG, both = 0;

	if (mark == 0)
		return;
	others &= mark & (ARENA_RING | ARENA_STRUCTURE) ? (uint8_t)~(ARENA_RING | ARENA_STRUCTURE) : ~mark;
	for (uint32_t i = 0; i < length; i++) {
		both |= marks[i];
		marks[i] |= mark;
	}
	arena->wild |= both & others;
}

uint32_t arena_mark(struct arena *arena, uint64_t iova, uint64_t length, uint32_t perm, uint8_t mark)
{
	uint32_t done = 0, run;

	while (done < length) {
		const uint8_t *at = arena_find(arena, iova + done, perm, &run);

		if (!at)
			break;
		run = run < length - done ? run : (uint32_t)(length - done);
		arena_mark_host(arena, at, run, mark);
		done += run;
	}
	return done;
}

void arena_snapshot(struct arena *arena)
{
	for (uint32_t i = 0; i < ARENA_AREAS; i++) {
		const struct arena_region *region = arena->region + i;
		size_t at = (size_t)(region->host - arena->bytes);

		memcpy(arena->before + at, region->host, region->length);
	}
	memset(arena->marks, 0, sizeof(arena->marks));
	arena->wild = false;
}

void arena_check(const struct arena *arena)
{
	for (uint32_t i = 0; i < ARENA_AREAS; i++) {
		const struct arena_region *region = arena->region + i;
		size_t at = (size_t)(region->host - arena->bytes);

		if (memcmp(arena->before + at, region->host, region->length) == 0)
			continue;
		FUZZ_RULE(region->perm & VDP_DMA_WRITE);
		for (uint32_t j = 0; j < region->length && !arena->wild; j++) {
			if (arena->before[at + j] == region->host[j])
				continue;
			if (!(arena->marks[at + j] & ~ARENA_STRUCTURE))
				fprintf(stderr, "area %u, byte %u was written\n", i, j);
			FUZZ_RULE(arena->marks[at + j] & ~ARENA_STRUCTURE);
		}
	}
}

static void check_page(const struct arena *arena, uint64_t base, uint64_t end, uint64_t page)
{
	uint8_t bits;

	if (page / 8 >= end - base)
		return;
	FUZZ_RULE(arena_read(arena, base + page / 8, &bits, 1, VDP_DMA_WRITE));
	FUZZ_RULE(bits & 1u << page % 8);
}

void arena_check_log(const struct arena *arena, uint64_t base, uint64_t end)
{
	for (uint32_t i = ARENA_TABLES; i < ARENA_AREAS; i++) {
		const struct arena_region *region = arena->region + i;
		size_t at = (size_t)(region->host - arena->bytes);

		for (uint32_t j = 0; j < region->length; j++) {
			uint64_t iova = region->iova + j;

			if (arena->before[at + j] != region->host[j] &&
			    (iova < base || iova >= end || base > end))
				check_page(arena, base, end, iova >> VDP_DIRTY_PAGE_SHIFT);
		}
	}
}

uint64_t arena_address(const struct arena *arena, struct fuzz_input *in, bool write)
{
	static const uint8_t likely[] = {ARENA_FIRST, ARENA_SECOND, ARENA_FIRST, 0};
	uint8_t kind = fuzz_u8(in), area = likely[kind % 4];
	const struct arena_region *region;

	if (kind >= 0xf8)
		return kind & 1 ? fuzz_u64(in) : 0 - (uint64_t)fuzz_u8(in);
	if (area == 0)
		area = write ? ARENA_WRITE_ONLY : ARENA_READ_ONLY;
	if (kind >= 0xc0)
		area = kind % ARENA_AREAS;
	region = arena->region + area;
	if (kind >= 0xa0 && kind < 0xd0)
		return region->iova + region->length - fuzz_u8(in) % 64;
	return region->iova + fuzz_u16(in) % region->length;
}
