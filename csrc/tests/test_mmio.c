/* Each accessor stores exactly its width: neighbours keep their value. */
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "check.h"
#include "mmio.h"

static void test_guarded(void)
{
	uint32_t cell[2] = {0x11223344, 0x55667788}, value = 0;
	int fd = memfd_create("registers", 0);
	uint8_t *nowhere;

	CHECK_EQ(vdp_mmio_load(cell, 8, &value), 0);
	CHECK_EQ(value, 0x44);
	CHECK_EQ(vdp_mmio_load(cell, 16, &value), 0);
	CHECK_EQ(value, 0x3344);
	CHECK_EQ(vdp_mmio_store((uint8_t *)cell + 1, 8, 0xaa), 0);
	CHECK_EQ(vdp_mmio_store((uint8_t *)cell + 2, 16, 0xbbcc), 0);
	CHECK_EQ(vdp_mmio_load(cell, 32, &value), 0);
	CHECK_EQ(value, 0xbbccaa44);
	CHECK_EQ(vdp_mmio_store(cell, 32, 7), 0);
	CHECK_EQ(cell[0], 7);
	CHECK_EQ(cell[1], 0x55667788);
	CHECK_EQ(vdp_mmio_load(cell, 64, &value), -EINVAL);
	CHECK_EQ(vdp_mmio_store(cell, 64, 0), -EINVAL);

	/* Nothing behind the mapping: SIGBUS, as a BAR with Memory Space off answers. */
	nowhere = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(nowhere != MAP_FAILED);
	CHECK_EQ(vdp_mmio_load(nowhere, 32, &value), -EFAULT);
	CHECK_EQ(vdp_mmio_store(nowhere, 16, 1), -EFAULT);
	munmap(nowhere, 4096);
	close(fd);
}

int main(void)
{
	uint32_t cell[2] = {0x11223344, 0x55667788};

	vdp_mmio_write8((uint8_t *)cell + 1, 0xaa);
	CHECK_EQ(cell[0], 0x1122aa44);
	vdp_mmio_write16((uint8_t *)cell + 2, 0xbbcc);
	CHECK_EQ(cell[0], 0xbbccaa44);
	vdp_mmio_write32(cell, 0x01020304);
	CHECK_EQ(cell[0], 0x01020304);
	CHECK_EQ(cell[1], 0x55667788);
	CHECK_EQ(vdp_mmio_read8(cell), 0x04);
	CHECK_EQ(vdp_mmio_read16(cell), 0x0304);
	CHECK_EQ(vdp_mmio_read32(cell + 1), 0x55667788);
	test_guarded();
	return 0;
}
