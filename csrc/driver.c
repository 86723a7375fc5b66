#include "driver.h"

#include <errno.h>
#include <stdlib.h>

#include "guard.h"
#include "packed_driver.h"
#include "split_driver.h"

/* One of the two. */
struct vdp_driver {
	struct vdp_split_driver *split;
	struct vdp_packed_driver *packed;
};

int vdp_driver_init(struct vdp_driver **ret, const struct vdp_driver_conf *conf)
{
	struct vdp_driver *drv = calloc(1, sizeof(*drv));
	int rc;

	if (!drv)
		return -ENOMEM;
	if (conf->flags & VDP_DRIVER_PACKED)
		rc = vdp_packed_driver_init(&drv->packed, conf);
	else
		rc = vdp_split_driver_init(&drv->split, conf);
	if (rc < 0) {
		free(drv);
		return rc;
	}
	*ret = drv;
	return 0;
}

void vdp_driver_fini(struct vdp_driver *drv)
{
	if (!drv)
		return;
	vdp_split_driver_fini(drv->split);
	vdp_packed_driver_fini(drv->packed);
	free(drv);
}

int vdp_driver_add(struct vdp_driver *drv, const struct vdp_buf *bufs, uint32_t count, uint64_t cookie)
{
	return drv->packed ? vdp_packed_driver_add(drv->packed, bufs, count, cookie)
			   : vdp_split_driver_add(drv->split, bufs, count, cookie);
}

int vdp_driver_next_head(const struct vdp_driver *drv)
{
	return drv->packed ? vdp_packed_driver_next_head(drv->packed)
			   : vdp_split_driver_next_head(drv->split);
}

uint32_t vdp_driver_room(const struct vdp_driver *drv, uint32_t count)
{
	return drv->packed ? vdp_packed_driver_room(drv->packed, count)
			   : vdp_split_driver_room(drv->split, count);
}

uint32_t vdp_driver_publish(struct vdp_driver *drv)
{
	return drv->packed ? vdp_packed_driver_publish(drv->packed) : vdp_split_driver_publish(drv->split);
}

bool vdp_driver_must_kick(struct vdp_driver *drv)
{
	return drv->packed ? vdp_packed_driver_must_kick(drv->packed)
			   : vdp_split_driver_must_kick(drv->split);
}

int vdp_driver_pop(struct vdp_driver *drv, struct vdp_used *out, uint32_t max)
{
	return drv->packed ? vdp_packed_driver_pop(drv->packed, out, max)
			   : vdp_split_driver_pop(drv->split, out, max);
}

void vdp_driver_no_calls(struct vdp_driver *drv)
{
	if (drv->packed)
		vdp_packed_driver_no_calls(drv->packed);
	else
		vdp_split_driver_no_calls(drv->split);
}

bool vdp_driver_want_calls(struct vdp_driver *drv, uint16_t after)
{
	return drv->packed ? vdp_packed_driver_want_calls(drv->packed, after)
			   : vdp_split_driver_want_calls(drv->split, after);
}

void vdp_driver_state(const struct vdp_driver *drv, struct vdp_driver_state *ret)
{
	if (drv->packed)
		vdp_packed_driver_state(drv->packed, ret);
	else
		vdp_split_driver_state(drv->split, ret);
}

int vdp_ring_store16(void *addr, uint16_t value)
{
	if (vdp_guard_install() < 0 || sigsetjmp(*vdp_guard_arm(), 0)) {
		vdp_guard_disarm();
		return -EFAULT;
	}
	__atomic_store_n((uint16_t *)addr, value, __ATOMIC_RELEASE);
	vdp_guard_disarm();
	return 0;
}
