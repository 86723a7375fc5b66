/* NICs that break one rule each: what proves that a conformance check can fail (net_mutant.h does it). */
#ifndef VDP_MUTANT_H
#define VDP_MUTANT_H

enum vdp_mutant {
	VDP_MUTANT_NONE,
	/* Either layout */
	VDP_MUTANT_WRITES_READABLE, /* the last byte of a buffer that it may only read */
	VDP_MUTANT_READS_WRITABLE,
	VDP_MUTANT_DATA_LATE,    /* behind the used entry */
	VDP_MUTANT_OVERRUN,      /* of a receive buffer that is too short */
	VDP_MUTANT_ONE_BUFFER,   /* a chain of more is an error */
	VDP_MUTANT_ONE_HEADER,   /* a chain whose first buffer is no more than the header is lost */
	VDP_MUTANT_SHUFFLED,     /* the last two buffers of a chain */
	VDP_MUTANT_OUT_OF_ORDER, /* a burst is used backwards */
	VDP_MUTANT_FAVOURS_LAST, /* of a burst, it is sent first */
	/* Frames that the driver sends (mutant_frames.c) */
	VDP_MUTANT_MINDS_FLAGS,   /* a header with flags that it does not know: lost */
	VDP_MUTANT_SUMS_UNASKED,  /* csum_start is used without NEEDS_CSUM */
	VDP_MUTANT_MINDS_HDR_LEN, /* segments with another hdr_len than it finds: lost */
	VDP_MUTANT_MINDS_SUMS,    /* a wrong checksum: lost */
	VDP_MUTANT_SHORT_MTU,
	VDP_MUTANT_BOTH_TUNNELS,  /* IPv4's and IPv6's bit: taken for IPv4's */
	VDP_MUTANT_HALF_TUNNEL,   /* taken without a checksum to complete, or without segments */
	VDP_MUTANT_SUM_ALONE,     /* UDP_TUNNEL_CSUM without a tunnel: ignored */
	VDP_MUTANT_MINDS_OFFSETS, /* of a tunnel where there is none: lost */
	VDP_MUTANT_OUTER_ZERO,    /* outer_nh_offset 0 is believed: lost */
	VDP_MUTANT_OUTER_BEYOND,  /* outer_nh_offset is taken from behind a header that has none */
	/* Frames that it receives */
	VDP_MUTANT_COUNT_ZERO, /* num_buffers without MRG_RXBUF */
	VDP_MUTANT_COUNT_ONE,  /* with it */
	VDP_MUTANT_UNFILLED,   /* the first of several buffers has room left */
	VDP_MUTANT_APART,      /* the first of several buffers comes before the others */
	VDP_MUTANT_VALID_UNASKED,
	VDP_MUTANT_LEAVES_SUMS, /* wrong, where it has to complete them */
	VDP_MUTANT_TUNNEL,
	VDP_MUTANT_TUNNEL_SUM,
	VDP_MUTANT_TUNNEL_UNASKED, /* segments in a tunnel are passed on as any others (nic_features.c) */
	VDP_MUTANT_NO_INNER,       /* inner_nh_offset is 0 */
	VDP_MUTANT_VALID_TUNNEL,
	VDP_MUTANT_OUTER_CLEARED, /* the outer checksum, where the pseudo header's sum belongs */
	VDP_MUTANT_OUTER_OPEN,    /* the outer checksum is not finished, and nobody says so */
	VDP_MUTANT_OUTER_ANY,     /* outer_nh_offset for whatever comes */
	VDP_MUTANT_NO_ECN,
	VDP_MUTANT_UNSEEN_SUM, /* NEEDS_CSUM for whatever comes */
	VDP_MUTANT_NO_PSEUDO,
	VDP_MUTANT_SUM_START,
	VDP_MUTANT_NO_SIZE,
	VDP_MUTANT_COALESCED,
	VDP_MUTANT_MISCOUNTS, /* coalesced segments */
	VDP_MUTANT_NO_HDR_LEN,
	VDP_MUTANT_VALID_UNSEEN,
	VDP_MUTANT_ROUND_ROBIN, /* automatic steering does not mind flows (receive.c) */
	VDP_MUTANT_ACTS_TWICE,  /* what the flow filter looked at is delivered twice (receive.c) */
	/* Split */
	VDP_MUTANT_WRITES_TABLE,     /* the length in the head's descriptor */
	VDP_MUTANT_INDIRECT_WRITE,   /* an indirect descriptor with WRITE is an error */
	VDP_MUTANT_INDIRECT_BEHIND,  /* or one behind others */
	VDP_MUTANT_LENGTH_LATE,      /* of a frame sent, behind the used index */
	VDP_MUTANT_HEEDS_USED_EVENT, /* without EVENT_IDX */
	VDP_MUTANT_IGNORES_FLAGS,
	VDP_MUTANT_NEVER_NOTIFIES, /* without EVENT_IDX */
	VDP_MUTANT_HEEDS_FLAGS,    /* with EVENT_IDX */
	VDP_MUTANT_EVENT_WRAP,     /* forgets that indices wrap */
	VDP_MUTANT_ALWAYS_NOTIFIES,
	VDP_MUTANT_USED_FLAGS,       /* has more bits than there are */
	VDP_MUTANT_USED_FLAGS_EVENT, /* asks for silence by flag, with EVENT_IDX */
	VDP_MUTANT_AVAIL_EVENT,      /* asks to be told of a buffer far ahead */
	/* Packed */
	VDP_MUTANT_USED_GAP,    /* leaves one slot out */
	VDP_MUTANT_ANY_WRAP,    /* takes descriptors of the other lap */
	VDP_MUTANT_FLAGS_FIRST, /* of a frame sent: id and length come behind */
	VDP_MUTANT_NO_WRAP,     /* the wrap counter does not change */
	VDP_MUTANT_DEAF,        /* event suppression is not looked at */
	VDP_MUTANT_INDIRECT_ID, /* another buffer's, for an indirect one */
	VDP_MUTANT_SKIPS_ONE,   /* slot, however long the chain */
};

#endif
