#include "filter.h"

#include <string.h>

static bool in_table(const uint8_t *table, uint32_t count, const uint8_t *address)
{
	for (uint32_t i = 0; i < count; i++)
		if (!memcmp(table + 6 * (size_t)i, address, 6))
			return true;
	return false;
}

static bool multicast_passes(const struct vdp_filter *filter, const uint8_t *address)
{
	static const uint8_t broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

	if (!memcmp(address, broadcast, 6))
		return !filter->nobcast;
	if (filter->nomulti)
		return false;
	return filter->allmulti ||
	       in_table(filter->table + 6 * (size_t)filter->unicast, filter->multicast, address);
}

static bool unicast_passes(const struct vdp_filter *filter, const uint8_t *address)
{
	if (filter->nouni)
		return false;
	return filter->alluni || !memcmp(address, filter->mac, 6) ||
	       in_table(filter->table, filter->unicast, address);
}

bool vdp_filter_pass(const struct vdp_filter *filter, const uint8_t *destination, uint16_t vlan)
{
	if (filter->promisc)
		return true;
	if (filter->vlans && vlan && !(filter->vlan[vlan / 8] >> vlan % 8 & 1))
		return false;
	if (!filter->addresses)
		return true;
	return destination[0] & 1 ? multicast_passes(filter, destination)
				  : unicast_passes(filter, destination);
}
