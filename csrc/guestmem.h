/* Memory that a guest shares with us: it may change under us, and vanish. */
#ifndef VDP_GUESTMEM_H
#define VDP_GUESTMEM_H

#include <stdbool.h>
#include <stdint.h>

/* mmap(MAP_SHARED); *ret gets the address. Returns 0 or -errno. */
int vdp_map_shared(int fd, uint64_t offset, uint64_t length, bool writable, void **ret);
int vdp_unmap(void *addr, uint64_t length);
/* 1 when fd lies on hugetlbfs, 0 when not, -errno. */
int vdp_is_hugetlbfs(int fd);

/*
 * Read a 16-bit index of a ring (acquire), or copy bytes, guarded. Return the value or 0, or -EFAULT when
 * the memory is gone.
 */
int vdp_guest_read16(const void *addr);
int vdp_guest_copy_in(void *private_dst, const void *guest_src, uint64_t length);
int vdp_guest_copy_out(void *guest_dst, const void *private_src, uint64_t length);

#endif
