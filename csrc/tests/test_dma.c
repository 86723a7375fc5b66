/* The software IOMMU: what is not mapped is not reached. */
#include <errno.h>

#include "check.h"
#include "dma_reach.h"

#define RW     (VDP_DMA_READ | VDP_DMA_WRITE)
#define TOP    0xfffffffffffff000ull
#define MANY   700u
#define REGION 0x1000u

static uint8_t memory[16 * REGION];

static void test_map_refuses(void)
{
	struct vdp_dma *dma;

	CHECK_EQ(vdp_dma_init(&dma), 0);
	CHECK_EQ(vdp_dma_map(dma, 0x1000, 0, memory, RW), -EINVAL);
	CHECK_EQ(vdp_dma_map(dma, TOP, 0x1001, memory, RW), -EINVAL);
	CHECK_EQ(vdp_dma_map(dma, 0x1000, 0x1000, memory, 0), -EINVAL);
	CHECK_EQ(vdp_dma_map(dma, 0x1000, 0x1000, memory, 8), -EINVAL);
	CHECK_EQ(vdp_dma_map(dma, TOP, 0x1000, memory, RW), 0);
	CHECK_EQ(vdp_dma_map(dma, 0x2000, 0x2000, memory, RW), 0);
	CHECK_EQ(vdp_dma_map(dma, 0x2000, 0x2000, memory, RW), -EEXIST);
	CHECK_EQ(vdp_dma_map(dma, 0x3fff, 1, memory, RW), -EEXIST);
	CHECK_EQ(vdp_dma_map(dma, 0x1000, 0x1001, memory, RW), -EEXIST);
	CHECK_EQ(vdp_dma_map(dma, 0, 0x10000, memory, RW), -EEXIST);
	CHECK_EQ(vdp_dma_map(dma, 0x1000, 0x1000, memory, RW), 0);
	CHECK_EQ(vdp_dma_map(dma, 0x4000, 1, memory, RW), 0);
	CHECK_EQ(vdp_dma_unmap(dma, 0x2000, 0x1000), -ENOENT);
	CHECK_EQ(vdp_dma_unmap(dma, 0x2800, 0x1800), -ENOENT);
	CHECK_EQ(vdp_dma_unmap(dma, 0x2000, 0x2000), 0);
	CHECK_EQ(vdp_dma_unmap(dma, 0x2000, 0x2000), -ENOENT);
	CHECK_EQ(vdp_dma_map(dma, 0x2000, 0x2000, memory, RW), 0);
	vdp_dma_fini(dma);
}

static void test_reach(void)
{
	struct vdp_dma_cache cache = {0};
	struct vdp_dma *dma;
	uint32_t run;

	CHECK_EQ(vdp_dma_init(&dma), 0);
	CHECK(!vdp_dma_reach(dma, &cache, 0, 1, VDP_DMA_READ));
	CHECK(!vdp_dma_reach(NULL, &cache, 0, 1, VDP_DMA_READ));
	CHECK_EQ(vdp_dma_map(dma, 0x1000, REGION, memory, VDP_DMA_READ), 0);
	CHECK_EQ(vdp_dma_map(dma, 0x2000, REGION, memory + 8 * REGION, RW), 0);
	CHECK_EQ(vdp_dma_map(dma, TOP, REGION, memory + 4 * REGION, RW), 0);

	/* Twice each: through the table, and through the cache. */
	for (int i = 0; i < 2; i++) {
		CHECK(vdp_dma_reach(dma, &cache, 0x1000, REGION, VDP_DMA_READ) == memory);
		CHECK(!vdp_dma_reach(dma, &cache, 0x1000, 1, VDP_DMA_WRITE));
		CHECK(!vdp_dma_reach(dma, &cache, 0xfff, 2, VDP_DMA_READ));
		CHECK(!vdp_dma_reach(dma, &cache, 0x1fff, 2, VDP_DMA_READ));
		CHECK(vdp_dma_reach(dma, &cache, 0x2fff, 1, VDP_DMA_WRITE) == memory + 9 * REGION - 1);
		CHECK(!vdp_dma_reach(dma, &cache, 0x2fff, UINT32_MAX, VDP_DMA_WRITE));
		CHECK(!vdp_dma_reach(dma, &cache, 0x3000, 1, VDP_DMA_WRITE));
		CHECK(vdp_dma_reach(dma, &cache, TOP + REGION - 1, 1, VDP_DMA_READ));
		CHECK(!vdp_dma_reach(dma, &cache, TOP + REGION - 1, 2, VDP_DMA_READ));
		CHECK(!vdp_dma_reach(dma, &cache, 0, 1, VDP_DMA_READ));
		CHECK(vdp_dma_run(dma, &cache, 0x1ffe, 5, VDP_DMA_READ, &run) == memory + REGION - 2);
		CHECK_EQ(run, 2);
		CHECK(vdp_dma_run(dma, &cache, 0x2000, 3, VDP_DMA_READ, &run) == memory + 8 * REGION);
		CHECK_EQ(run, 3);
	}
	vdp_dma_fini(dma);
}

/* Mapped in no order, with a hole after each; each byte is found in its own region only. */
static void test_many(void)
{
	struct vdp_dma_cache cache = {0};
	struct vdp_dma *dma;

	CHECK_EQ(vdp_dma_init(&dma), 0);
	for (uint32_t i = 0; i < MANY; i++) {
		uint32_t at = i * 311 % MANY;

		CHECK_EQ(vdp_dma_map(dma, 0x2000ull * at, REGION, memory + at, RW), 0);
	}
	for (uint32_t i = 0; i < MANY; i++) {
		CHECK(vdp_dma_reach(dma, &cache, 0x2000ull * i + 5, 1, RW) == memory + i + 5);
		CHECK(!vdp_dma_reach(dma, &cache, 0x2000ull * i + REGION, 1, RW));
	}
	for (uint32_t i = 0; i < MANY; i += 2)
		CHECK_EQ(vdp_dma_unmap(dma, 0x2000ull * i, REGION), 0);
	cache = (struct vdp_dma_cache){0};
	for (uint32_t i = 0; i < MANY; i++)
		CHECK((vdp_dma_reach(dma, &cache, 0x2000ull * i, 1, RW) != NULL) == (i % 2 == 1));
	vdp_dma_fini(dma);
}

/* The oldest are kept: the first fault is the one that explains the others. */
static void test_faults(void)
{
	struct vdp_dma_fault faults[VDP_DMA_MAX_FAULTS];
	struct vdp_dma *dma;

	CHECK_EQ(vdp_dma_init(&dma), 0);
	CHECK_EQ(vdp_dma_take_faults(dma, faults, VDP_DMA_MAX_FAULTS), 0);
	for (uint32_t i = 0; i < VDP_DMA_MAX_FAULTS + 5; i++)
		vdp_dma_fault(dma, i, i + 1, VDP_DMA_WRITE);
	CHECK_EQ(vdp_dma_take_faults(dma, faults, 3), 3);
	CHECK_EQ(faults[2].iova, 2);
	CHECK_EQ(faults[2].length, 3);
	CHECK_EQ(faults[2].perm, VDP_DMA_WRITE);
	vdp_dma_fault(dma, 1000, 1, VDP_DMA_READ);
	CHECK_EQ(vdp_dma_take_faults(dma, faults, VDP_DMA_MAX_FAULTS), VDP_DMA_MAX_FAULTS - 2);
	CHECK_EQ(faults[0].iova, 3);
	CHECK_EQ(faults[VDP_DMA_MAX_FAULTS - 3].iova, 1000);
	CHECK_EQ(vdp_dma_take_faults(dma, faults, 1), 0);
	vdp_dma_fini(dma);
}

int main(void)
{
	test_map_refuses();
	test_reach();
	test_many();
	test_faults();
	return 0;
}
