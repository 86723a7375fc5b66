/*
 * Threads of the software NIC. A worker serves any number of NICs (nic.h), each of them with all its pairs;
 * a device that several workers serve is several NICs, each with some of the device's pairs. So whatever the
 * data path writes has one writer, and nothing on it is locked.
 */
#ifndef VDP_WORKER_H
#define VDP_WORKER_H

#include <stdint.h>

/* Single writer: the worker. Python reads it as numpy (vfiodpa/soft/stats.py has the twin). */
struct vdp_worker_stats {
	uint64_t packets;            /* moved; an echoed frame counts once */
	uint64_t polls, empty_polls; /* of one NIC each */
	uint64_t sleeps;             /* times that no NIC had anything to do */
	uint64_t wakes;              /* ends of these: it sleeps now when there are fewer */
	uint64_t busy_cycles;        /* TSC cycles of polls that found packets */
};

struct vdp_worker;

/* Starts the thread, on one CPU unless cpu is -1. It sleeps until a NIC is given to it. */
int vdp_worker_init(struct vdp_worker **ret, int32_t cpu);
void vdp_worker_fini(struct vdp_worker *worker); /* joins it; none of its NICs may be left */

#endif
