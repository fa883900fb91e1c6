/* A GPU driver for tests: FAKE_GPUS cards whose figures differ by their number. Card FAKE_SILENT
 * reports neither power nor temperature. Free memory is less than total minus used, as where the
 * driver keeps some for itself. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SUCCESS = 0, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6 };
static int cards[8];

static int setting(const char *name, int otherwise) {
    const char *value = getenv(name);
    return value ? atoi(value) : otherwise;
}

static int number(void *card) { return (int)((int *)card - cards); }

static int silent(void *card) { return number(card) == setting("FAKE_SILENT", -1); }

int nvmlInitWithFlags(unsigned flags) { return SUCCESS; }

int nvmlInit_v2(void) { return SUCCESS; }

int nvmlDeviceGetCount_v2(unsigned *count) {
    *count = (unsigned)setting("FAKE_GPUS", 1);
    return SUCCESS;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **card) {
    if (index >= (unsigned)setting("FAKE_GPUS", 1)) return INVALID_ARGUMENT;
    *card = &cards[index];
    return SUCCESS;
}

int nvmlDeviceGetHandleByUUID(const char *uuid, void **card) {
    unsigned index;
    if (sscanf(uuid, "GPU-fake-%u", &index) != 1) return NOT_FOUND;
    return nvmlDeviceGetHandleByIndex_v2(index, card);
}

int nvmlDeviceGetName(void *card, char *name, unsigned length) {
    snprintf(name, length, number(card) ? "NVIDIA Unheard-of" : "NVIDIA A100-SXM4-80GB");
    return SUCCESS;
}

int nvmlDeviceGetCudaComputeCapability(void *card, int *major, int *minor) {
    *major = 8;
    *minor = number(card);
    return SUCCESS;
}

int nvmlDeviceGetMemoryInfo(void *card, unsigned long long *memory) {
    memory[0] = 80000000000ULL;
    memory[1] = 60000000000ULL;
    memory[2] = 1234000000ULL + 1000000000ULL * number(card);
    return SUCCESS;
}

int nvmlDeviceGetUtilizationRates(void *card, unsigned *rates) {
    rates[0] = 50u * number(card);
    rates[1] = 40;
    return SUCCESS;
}

int nvmlDeviceGetTemperature(void *card, int sensor, unsigned *celsius) {
    *celsius = 61u + number(card);
    return silent(card) ? NOT_SUPPORTED : SUCCESS;
}

int nvmlDeviceGetPowerUsage(void *card, unsigned *milliwatts) {
    *milliwatts = 350250;
    return silent(card) ? NOT_SUPPORTED : SUCCESS;
}
