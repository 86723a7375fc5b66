/* Register access: one volatile access of exactly the named width, nothing else (DESIGN 4, rule 1). */
#ifndef VDP_MMIO_H
#define VDP_MMIO_H

#include <stdint.h>

uint8_t vdp_mmio_read8(const volatile void *addr);
uint16_t vdp_mmio_read16(const volatile void *addr);
uint32_t vdp_mmio_read32(const volatile void *addr);
void vdp_mmio_write8(volatile void *addr, uint8_t value);
void vdp_mmio_write16(volatile void *addr, uint16_t value);
void vdp_mmio_write32(volatile void *addr, uint32_t value);

/*
 * The same, guarded: the kernel stops accesses while Memory Space is off or the function is gone. width in
 * bits. Returns 0, -EFAULT, or -EINVAL for a width that no register has.
 */
int vdp_mmio_load(const volatile void *addr, unsigned int width, uint32_t *ret);
int vdp_mmio_store(volatile void *addr, unsigned int width, uint32_t value);

#endif
