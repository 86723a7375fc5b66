/* Each accessor stores exactly its width: neighbours keep their value. */
#include "check.h"
#include "mmio.h"

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
	return 0;
}
