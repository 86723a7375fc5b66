/* The smallest thing that can fail a C test: say where, and exit. */
#ifndef VDP_CHECK_H
#define VDP_CHECK_H

#include <stdio.h>
#include <stdlib.h>

#define CHECK(condition)                                                                                     \
	do {                                                                                                 \
		if (!(condition)) {                                                                          \
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);              \
			exit(1);                                                                             \
		}                                                                                            \
	} while (0)

#define CHECK_EQ(have, want)                                                                                 \
	do {                                                                                                 \
		long long have_ = (long long)(have), want_ = (long long)(want);                              \
		if (have_ != want_) {                                                                        \
			fprintf(stderr, "%s:%d: %s is %lld, not %lld\n", __FILE__, __LINE__, #have, have_,   \
			    want_);                                                                          \
			exit(1);                                                                             \
		}                                                                                            \
	} while (0)

#endif
