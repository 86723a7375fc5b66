/* What a pair sends: frames, and the envelopes around them. */
#include <string.h>

#include "traffic_pair.h"

/* Where test frames begin in a transmit buffer. */
static uint32_t first_frame(const struct vdp_pair *pair)
{
	return pair->header + (pair->conf->offload ? VDP_ENVELOPE : 0);
}

static void prepare_buffer(const struct vdp_pair *pair, uint8_t *buffer)
{
	const struct vdp_traffic_conf *conf = pair->conf;
	uint32_t at = first_frame(pair);

	memset(buffer, 0, pair->header);
	if (conf->offload)
		vdp_envelope_prepare(buffer + pair->header, pair->flow, conf->dst, conf->src);
	for (uint32_t i = 1; i < conf->together; i++, at += conf->sizes[0])
		vdp_frame_prepare(buffer + at, conf->sizes[0], pair->flow, conf->dst, conf->src);
	vdp_frame_prepare(buffer + at, pair->tx.stride - at, pair->flow, conf->dst, conf->src);
}

void vdp_pair_prepare(struct vdp_pair *pair)
{
	const struct vdp_traffic_conf *conf = pair->conf;
	struct vdp_driver_state state;

	vdp_driver_state(pair->tx.driver, &state);
	for (uint32_t i = 0; i < state.size; i++)
		prepare_buffer(pair, pair->tx.buffers + (uint64_t)i * pair->tx.stride);
	for (uint32_t i = 0; i < conf->size_count; i++)
		vdp_frame_shape_init(&pair->shapes[i], pair->tx.buffers + first_frame(pair), conf->sizes[i]);
}

uint32_t vdp_pair_number(struct vdp_pair *pair, uint8_t *buffer, uint32_t most, uint32_t *length)
{
	const struct vdp_frame_shape *shape = &pair->shapes[pair->shape_at];
	const struct vdp_traffic_conf *conf = pair->conf;
	uint32_t n = conf->together < most ? conf->together : most, at = first_frame(pair);

	for (uint32_t i = 0; i < n; i++, at += shape->size)
		vdp_frame_number(buffer + at, shape, pair->stats->sent + i);
	if (conf->offload)
		vdp_envelope_close(buffer, buffer + pair->header, n * shape->size,
		    conf->offload == VDP_TRAFFIC_TSO ? shape->size : 0);
	*length = at;
	pair->stats->sent += n;
	pair->stats->sent_bytes += (uint64_t)n * shape->size;
	if (++pair->shape_at == conf->size_count)
		pair->shape_at = 0;
	return n;
}
