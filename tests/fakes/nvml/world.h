/* The world that the fake driver tells of, and how it is read from the scenario. */
#pragma once
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

typedef unsigned int u32;
typedef unsigned long long u64;

enum {
    SUCCESS = 0,
    UNINITIALIZED = 1,
    INVALID_ARGUMENT = 2,
    NOT_SUPPORTED = 3,
    NOT_FOUND = 6,
    INSUFFICIENT_SIZE = 7,
    TIMEOUT = 10,
    FUNCTION_NOT_FOUND = 13,
    GPU_IS_LOST = 15,
    LIB_RM_VERSION_MISMATCH = 18,
    VERSION_MISMATCH = 25,
};

#define ALL_CALLS(X) \
    X(nvmlInitWithFlags) X(nvmlInit_v2) X(nvmlShutdown) X(nvmlSystemGetDriverVersion) \
    X(nvmlSystemGetNVMLVersion) X(nvmlSystemGetCudaDriverVersion) \
    X(nvmlSystemGetCudaDriverVersion_v2) X(nvmlDeviceGetCount_v2) \
    X(nvmlDeviceGetHandleByIndex_v2) X(nvmlDeviceGetHandleByUUID) \
    X(nvmlDeviceGetHandleByPciBusId_v2) X(nvmlDeviceGetIndex) X(nvmlDeviceGetName) \
    X(nvmlDeviceGetUUID) X(nvmlDeviceGetPciInfo_v3) X(nvmlDeviceGetArchitecture) \
    X(nvmlDeviceGetCudaComputeCapability) X(nvmlDeviceGetMemoryInfo) \
    X(nvmlDeviceGetMemoryInfo_v2) X(nvmlDeviceGetBAR1MemoryInfo) X(nvmlDeviceGetUtilizationRates) \
    X(nvmlDeviceGetEncoderUtilization) X(nvmlDeviceGetDecoderUtilization) \
    X(nvmlDeviceGetTemperature) X(nvmlDeviceGetTemperatureV) X(nvmlDeviceGetTemperatureThreshold) \
    X(nvmlDeviceGetPowerUsage) X(nvmlDeviceGetPowerManagementLimit) \
    X(nvmlDeviceGetEnforcedPowerLimit) X(nvmlDeviceGetTotalEnergyConsumption) \
    X(nvmlDeviceGetClockInfo) X(nvmlDeviceGetMaxClockInfo) X(nvmlDeviceGetNumFans) \
    X(nvmlDeviceGetFanSpeed) X(nvmlDeviceGetFanSpeed_v2) X(nvmlDeviceGetPerformanceState) \
    X(nvmlDeviceGetCurrentClocksThrottleReasons) X(nvmlDeviceGetCurrentClocksEventReasons) \
    X(nvmlDeviceGetTotalEccErrors) X(nvmlDeviceGetDriverModel_v2) X(nvmlDeviceGetFieldValues) \
    X(nvmlDeviceGetPcieThroughput) X(nvmlDeviceGetProcessUtilization) \
    X(nvmlDeviceGetDisplayActive) X(nvmlDeviceGetDisplayMode) \
    X(nvmlDeviceGetPersistenceMode) X(nvmlDeviceGetComputeMode) \
    X(nvmlDeviceGetComputeRunningProcesses) X(nvmlDeviceGetComputeRunningProcesses_v2) \
    X(nvmlDeviceGetComputeRunningProcesses_v3) X(nvmlDeviceGetGraphicsRunningProcesses) \
    X(nvmlDeviceGetGraphicsRunningProcesses_v2) X(nvmlDeviceGetGraphicsRunningProcesses_v3) \
    X(nvmlDeviceGetMPSComputeRunningProcesses_v2) X(nvmlDeviceGetMPSComputeRunningProcesses_v3) \
    X(nvmlDeviceGetMigMode) X(nvmlDeviceIsMigDeviceHandle) X(nvmlDeviceGetMaxMigDeviceCount) \
    X(nvmlDeviceGetMigDeviceHandleByIndex) X(nvmlDeviceGetDeviceHandleFromMigDeviceHandle) \
    X(nvmlDeviceGetGpuInstanceId) X(nvmlDeviceGetComputeInstanceId) \
    X(nvmlDeviceGetSupportedEventTypes) X(nvmlEventSetCreate) X(nvmlDeviceRegisterEvents) \
    X(nvmlEventSetWait_v2) X(nvmlEventSetFree)

#define AS_ENUM(name) CALL_##name,
#define AS_NAME(name) #name,
enum { ALL_CALLS(AS_ENUM) CALLS };
static const char *const call_names[CALLS] = {ALL_CALLS(AS_NAME)};

/* Figures of a device: one that the scenario leaves out is NOT_SUPPORTED. */
#define ALL_FIGURES(X) \
    X(total) X(reserved) X(used) X(gpu_percent) X(memory_percent) X(celsius) X(memory_celsius) \
    X(slowdown_celsius) X(shutdown_celsius) X(milliwatts) X(limit_milliwatts) X(millijoules) \
    X(graphics_mhz) X(memory_mhz) X(fans) X(fan0) X(fan1) X(fan2) X(fan3) X(pstate) X(throttle) \
    X(ecc_corrected) X(ecc_uncorrected) X(driver_model) X(mig_mode) X(recovery) X(events) \
    X(pcie_sent) X(pcie_received)

#define AS_FIGURE(name) FIGURE_##name,
enum { ALL_FIGURES(AS_FIGURE) FIGURES };
static const char *const figure_names[FIGURES] = {ALL_FIGURES(AS_NAME)};

enum { MAX_CARDS = 16, MAX_INSTANCES = 8, MAX_PROCESSES = 512, MAX_RULES = 32, MAX_XIDS = 256 };
enum { COMPUTE, GRAPHICS, MPS };
#define NO_INSTANCE 0xFFFFFFFFu

typedef struct { int kind; u32 pid; u64 bytes; } Process;
typedef struct { char call[64]; int code; } Rule; /* a call, or "*", and what it answers */

typedef struct Device {
    char uuid[96], name[96], pci[32];
    bool present, known[FIGURES];
    u64 figures[FIGURES];
    struct Device *parent;
    u32 gpu_instance, compute_instance;
    int rules, processes, xids, instances;
    Rule rule[MAX_RULES];
    int xid[MAX_XIDS];
    Process process[MAX_PROCESSES];
    struct Device *instance[MAX_INSTANCES];
} Device;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static Device cards[MAX_CARDS], instances[MAX_CARDS * MAX_INSTANCES];
static Device *order[MAX_CARDS]; /* cards by index; a handle stays with its card, not its place */
static int card_count, rules, hangs, init_error, initialized;
static Rule rule[MAX_RULES], hang[MAX_RULES];
static unsigned latency_us;
static char version[80], library[80];
static char mapped[80]; /* the version of this library when the process loaded it */
static u64 seen_generation;

static struct Control { u64 generation; u64 counts[CALLS]; } *control, no_control;

/* ---- Reading the scenario ----
 * One "key words" a line. Of the driver: version, library, init_error CODE, latency_us N,
 * error CALL CODE, hang CALL. "card UUID" begins a card, "instance UUID GI CI" a MIG instance of
 * it; what follows belongs to that device: name, pci, set FIGURE N, process KIND PID BYTES,
 * error CALL CODE, xid N. CALL may be "*".
 */
static Device *slot(Device *slots, int count, const char *uuid) {
    for (int i = 0; i < count; i++) {
        if (!strcmp(slots[i].uuid, uuid)) return &slots[i];
    }
    for (int i = 0; i < count; i++) {
        if (!slots[i].uuid[0]) {
            snprintf(slots[i].uuid, sizeof slots[i].uuid, "%s", uuid);
            return &slots[i];
        }
    }
    fprintf(stderr, "fake nvml: too many devices\n");
    abort();
}

static Device *begun(Device *device, Device *parent) {
    device->present = true;
    device->parent = parent;
    device->rules = device->processes = device->xids = device->instances = 0;
    memset(device->known, 0, sizeof device->known);
    return device;
}

static void put_rule(Rule *list, int *count, const char *call, int code) {
    if (*count == MAX_RULES) abort();
    snprintf(list[*count].call, sizeof list->call, "%s", call);
    list[(*count)++].code = code;
}

static void put_device_line(Device *device, const char *key, const char *words) {
    char name[64];
    long long number;
    int kind;
    u32 pid;
    u64 bytes;
    if (!strcmp(key, "name")) {
        snprintf(device->name, sizeof device->name, "%s", words);
    } else if (!strcmp(key, "pci")) {
        snprintf(device->pci, sizeof device->pci, "%s", words);
    } else if (!strcmp(key, "set") && sscanf(words, "%63s %lld", name, &number) == 2) {
        for (int i = 0; i < FIGURES; i++) {
            if (!strcmp(figure_names[i], name)) {
                device->known[i] = true;
                device->figures[i] = (u64)number;
                return;
            }
        }
        fprintf(stderr, "fake nvml: no such figure: %s\n", name);
        abort();
    } else if (!strcmp(key, "process") && device->processes < MAX_PROCESSES &&
               sscanf(words, "%d %u %llu", &kind, &pid, &bytes) == 3) {
        device->process[device->processes++] = (Process){kind, pid, bytes};
    } else if (!strcmp(key, "error") && sscanf(words, "%63s %lld", name, &number) == 2) {
        put_rule(device->rule, &device->rules, name, (int)number);
    } else if (!strcmp(key, "xid") && device->xids < MAX_XIDS) {
        device->xid[device->xids++] = atoi(words);
    } else {
        fprintf(stderr, "fake nvml: cannot read: %s %s\n", key, words);
        abort();
    }
}

static void put_driver_line(const char *key, const char *words) {
    char name[64];
    int code;
    if (!strcmp(key, "version")) {
        snprintf(version, sizeof version, "%s", words);
    } else if (!strcmp(key, "library")) {
        snprintf(library, sizeof library, "%s", words);
    } else if (!strcmp(key, "init_error")) {
        init_error = atoi(words);
    } else if (!strcmp(key, "latency_us")) {
        latency_us = (unsigned)atoi(words);
    } else if (!strcmp(key, "hang")) {
        put_rule(hang, &hangs, words, 0);
    } else if (!strcmp(key, "error") && sscanf(words, "%63s %d", name, &code) == 2) {
        put_rule(rule, &rules, name, code);
    } else {
        fprintf(stderr, "fake nvml: cannot read: %s %s\n", key, words);
        abort();
    }
}

static void read_scenario(void) {
    char path[4096], line[1024];
    snprintf(path, sizeof path, "%s/scenario", getenv("TIERWATCH_FAKE_NVML"));
    FILE *file = fopen(path, "re");
    if (!file) {
        perror(path);
        abort();
    }
    card_count = rules = hangs = init_error = 0;
    latency_us = 0;
    for (int i = 0; i < MAX_CARDS; i++) cards[i].present = false;
    for (int i = 0; i < MAX_CARDS * MAX_INSTANCES; i++) instances[i].present = false;
    Device *card = NULL, *device = NULL;
    while (fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = 0;
        char *words = strchr(line, ' ');
        if (!words) continue;
        *words++ = 0;
        if (!strcmp(line, "card")) {
            device = card = begun(slot(cards, MAX_CARDS, words), NULL);
            order[card_count++] = card;
        } else if (!strcmp(line, "instance") && card && card->instances < MAX_INSTANCES) {
            char uuid[96];
            u32 gpu_instance, compute_instance;
            if (sscanf(words, "%95s %u %u", uuid, &gpu_instance, &compute_instance) != 3) abort();
            device = begun(slot(instances, MAX_CARDS * MAX_INSTANCES, uuid), card);
            device->gpu_instance = gpu_instance;
            device->compute_instance = compute_instance;
            card->instance[card->instances++] = device;
        } else if (device) {
            put_device_line(device, line, words);
        } else {
            put_driver_line(line, words);
        }
    }
    fclose(file);
}

static void refresh(void) {
    u64 generation = __atomic_load_n(&control->generation, __ATOMIC_ACQUIRE);
    if (generation != seen_generation) {
        seen_generation = generation;
        read_scenario();
    }
}
