#include "driver_run.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length)
{
	struct fuzz_input in = {data, data + length};

	return fuzz_driver(&in, false);
}
