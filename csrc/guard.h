/* SIGBUS guard: vanished guest memory is an error of that guest, never the end of the process. */
#ifndef VDP_GUARD_H
#define VDP_GUARD_H

#include <pthread.h>
#include <setjmp.h>

/*
 * A truncated memfd answers an access with SIGBUS. A thread that touches guest memory arms a guard:
 *
 *	if (sigsetjmp(*vdp_guard_arm(), 0))
 *		... the access was cut off: give the queue up ...
 *	...
 *	vdp_guard_disarm();
 *
 * Unguarded SIGBUS goes to whoever handled it before. Install once per process, from any thread.
 */
int vdp_guard_install(void);
sigjmp_buf *vdp_guard_arm(void);
void vdp_guard_disarm(void);

/* Make a blocking system call of a thread that has armed a guard return with EINTR; no harm otherwise. */
void vdp_guard_poke(pthread_t thread);

#endif
