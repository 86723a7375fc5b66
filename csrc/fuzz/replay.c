/*
 * Runs a harness over files and directories of them, in the order of their names. No fuzzing, any compiler:
 * what was found once, and the corpus, stay tests.
 */
#include <dirent.h>
#include <string.h>
#include <sys/stat.h>

#include "input.h"

#define REPLAY_MAX (1u << 16)

static uint32_t replayed;

static void replay_file(const char *path)
{
	uint8_t *data = malloc(REPLAY_MAX), *exact;
	FILE *file = fopen(path, "rb");
	size_t length;

	if (!file || !data) {
		perror(path);
		exit(1);
	}
	length = fread(data, 1, REPLAY_MAX, file);
	fclose(file);
	exact = malloc(length ? length : 1); /* so that reading beyond it is seen */
	memcpy(exact, data, length);
	free(data);
	setenv("FUZZ_FILE", path, 1); /* for a debugger */
	LLVMFuzzerTestOneInput(exact, length);
	free(exact);
	replayed++;
}

static int visible(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

static void replay(const char *path)
{
	struct dirent **entries;
	struct stat what;
	char child[4096];
	int n;

	if (stat(path, &what) == 0 && !S_ISDIR(what.st_mode)) {
		replay_file(path);
		return;
	}
	n = scandir(path, &entries, visible, alphasort);
	if (n < 0) {
		perror(path);
		exit(1);
	}
	for (int i = 0; i < n; i++) {
		snprintf(child, sizeof(child), "%s/%s", path, entries[i]->d_name);
		replay(child);
		free(entries[i]);
	}
	free(entries);
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		replay(argv[i]);
	printf("%u inputs\n", replayed);
	return replayed == 0; /* a test without inputs tests nothing */
}
