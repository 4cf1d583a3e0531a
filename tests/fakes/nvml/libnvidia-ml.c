/* A driver without a GPU: NVML's ABI, as nvidia-ml-py loads it, answering what a scenario says.
 *
 * $TIERWATCH_FAKE_NVML is a folder (made by tests/fakes/nvml/__init__.py) with two files:
 *   scenario  the world, as lines of words (see "Reading the scenario" below); replaced by rename
 *   control   mapped into memory: a generation, raised after each new scenario, and a count of every
 *             call made, by all processes that have the library loaded
 *
 * Struct layouts and version numbers are nvml.h's, as nvidia-ml-py 13 declares them. Functions that
 * an old driver lacks answer FUNCTION_NOT_FOUND: nvidia-ml-py turns a missing symbol into the same.
 */
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
    X(nvmlDeviceGetPcieThroughput) X(nvmlDeviceGetProcessUtilization) X(nvmlDeviceGetDisplayActive) \
    X(nvmlDeviceGetDisplayMode) X(nvmlDeviceGetPersistenceMode) X(nvmlDeviceGetComputeMode) \
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
    X(ecc_corrected) X(ecc_uncorrected) X(driver_model) X(mig_mode) X(recovery) X(events)

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
 * error CALL CODE, hang CALL. "card UUID" begins a card, "instance UUID GI CI" a MIG instance of it;
 * what follows belongs to that device: name, pci, set FIGURE N, process KIND PID BYTES,
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

__attribute__((constructor)) static void loaded(void) {
    const char *folder = getenv("TIERWATCH_FAKE_NVML");
    if (!folder) {
        fprintf(stderr, "fake nvml: TIERWATCH_FAKE_NVML is not set\n");
        abort();
    }
    char path[4096];
    snprintf(path, sizeof path, "%s/control", folder);
    int file = open(path, O_RDWR | O_CLOEXEC);
    void *memory = file < 0 ? MAP_FAILED
                            : mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (file >= 0) close(file);
    control = memory == MAP_FAILED ? &no_control : memory;
    seen_generation = control->generation;
    read_scenario();
    snprintf(mapped, sizeof mapped, "%s", library);
}

/* ---- What every call goes through ---- */

static const Rule *matching(const Rule *list, int count, int call) {
    for (int i = 0; i < count; i++) {
        if (!strcmp(list[i].call, "*") || !strcmp(list[i].call, call_names[call])) return &list[i];
    }
    return NULL;
}

static int major(void) { return atoi(version); }

static bool is_device(const Device *device) {
    return (device >= cards && device < cards + MAX_CARDS) ||
           (device >= instances && device < instances + MAX_CARDS * MAX_INSTANCES);
}

static int judged(int call, const Device *device) {
    const Rule *found;
    if (call == CALL_nvmlInitWithFlags || call == CALL_nvmlInit_v2) {
        if (init_error) return init_error;
    } else if (!initialized) {
        return UNINITIALIZED;
    }
    if (strcmp(mapped, version)) return LIB_RM_VERSION_MISMATCH;
    if (device) {
        if (!is_device(device)) return INVALID_ARGUMENT;
        if (!device->present) return device->parent ? INVALID_ARGUMENT : GPU_IS_LOST;
        if ((found = matching(device->rule, device->rules, call))) return found->code;
        const Device *parent = device->parent;
        if (parent && (found = matching(parent->rule, parent->rules, call)) && found->call[0] == '*')
            return found->code;
    }
    found = matching(rule, rules, call);
    return found ? found->code : SUCCESS;
}

/* Takes the lock; each function gives it back as it returns. */
static int begin(int call, const Device *device) {
    __atomic_fetch_add(&control->counts[call], 1, __ATOMIC_RELAXED);
    pthread_mutex_lock(&lock);
    refresh();
    if (latency_us) {
        struct timespec pause = {latency_us / 1000000, (long)(latency_us % 1000000) * 1000};
        pthread_mutex_unlock(&lock);
        nanosleep(&pause, NULL);
        pthread_mutex_lock(&lock);
        refresh();
    }
    while (matching(hang, hangs, call)) {
        pthread_mutex_unlock(&lock);
        usleep(5000);
        pthread_mutex_lock(&lock);
        refresh();
    }
    return judged(call, device);
}

static void end(const int *unused) {
    (void)unused;
    pthread_mutex_unlock(&lock);
}

#define BEGIN(call, device) \
    __attribute__((cleanup(end))) int refused = begin(CALL_##call, device); \
    if (refused) return refused

static int text(char *target, u32 size, const char *source) {
    if (strlen(source) >= size) return INSUFFICIENT_SIZE;
    strcpy(target, source);
    return SUCCESS;
}

static int number(const Device *device, int figure, u32 *target) {
    if (!device->known[figure]) return NOT_SUPPORTED;
    *target = (u32)device->figures[figure];
    return SUCCESS;
}

/* ---- The library itself ---- */

const char *nvmlErrorString(int code) {
    return code == SUCCESS ? "Success" : "An error of the fake driver";
}

static int init(int call) {
    __attribute__((cleanup(end))) int refused = begin(call, NULL);
    if (!refused) initialized++;
    return refused;
}

int nvmlInitWithFlags(u32 flags) {
    (void)flags;
    return init(CALL_nvmlInitWithFlags);
}

int nvmlInit_v2(void) { return init(CALL_nvmlInit_v2); }

int nvmlShutdown(void) {
    BEGIN(nvmlShutdown, NULL);
    initialized--;
    return SUCCESS;
}

int nvmlSystemGetDriverVersion(char *target, u32 size) {
    BEGIN(nvmlSystemGetDriverVersion, NULL);
    return text(target, size, version);
}

int nvmlSystemGetNVMLVersion(char *target, u32 size) {
    BEGIN(nvmlSystemGetNVMLVersion, NULL);
    char said[96];
    snprintf(said, sizeof said, "12.%s", mapped);
    return text(target, size, said);
}

int nvmlSystemGetCudaDriverVersion(int *target) {
    BEGIN(nvmlSystemGetCudaDriverVersion, NULL);
    *target = 12060;
    return SUCCESS;
}

int nvmlSystemGetCudaDriverVersion_v2(int *target) {
    BEGIN(nvmlSystemGetCudaDriverVersion_v2, NULL);
    *target = 12060;
    return SUCCESS;
}

/* ---- Devices ---- */

int nvmlDeviceGetCount_v2(u32 *count) {
    BEGIN(nvmlDeviceGetCount_v2, NULL);
    *count = (u32)card_count;
    return SUCCESS;
}

static int handle(int call, Device *device, Device **target) {
    if (!device) return NOT_FOUND;
    int refused = judged(call, device);
    if (!refused) *target = device;
    return refused;
}

int nvmlDeviceGetHandleByIndex_v2(u32 index, Device **target) {
    BEGIN(nvmlDeviceGetHandleByIndex_v2, NULL);
    if (index >= (u32)card_count) return INVALID_ARGUMENT;
    return handle(CALL_nvmlDeviceGetHandleByIndex_v2, order[index], target);
}

int nvmlDeviceGetHandleByUUID(const char *uuid, Device **target) {
    BEGIN(nvmlDeviceGetHandleByUUID, NULL);
    Device *found = NULL;
    for (int i = 0; i < card_count; i++) {
        if (!strcmp(order[i]->uuid, uuid)) found = order[i];
        for (int j = 0; j < order[i]->instances; j++) {
            if (!strcmp(order[i]->instance[j]->uuid, uuid)) found = order[i]->instance[j];
        }
    }
    return handle(CALL_nvmlDeviceGetHandleByUUID, found, target);
}

int nvmlDeviceGetHandleByPciBusId_v2(const char *pci, Device **target) {
    BEGIN(nvmlDeviceGetHandleByPciBusId_v2, NULL);
    Device *found = NULL;
    for (int i = 0; i < card_count; i++) {
        if (!strcasecmp(order[i]->pci, pci)) found = order[i];
    }
    return handle(CALL_nvmlDeviceGetHandleByPciBusId_v2, found, target);
}

int nvmlDeviceGetIndex(Device *device, u32 *index) {
    BEGIN(nvmlDeviceGetIndex, device);
    Device **list = device->parent ? device->parent->instance : order;
    int count = device->parent ? device->parent->instances : card_count;
    for (int i = 0; i < count; i++) {
        if (list[i] == device) *index = (u32)i;
    }
    return SUCCESS;
}

int nvmlDeviceGetName(Device *device, char *target, u32 size) {
    BEGIN(nvmlDeviceGetName, device);
    return text(target, size, device->name);
}

int nvmlDeviceGetUUID(Device *device, char *target, u32 size) {
    BEGIN(nvmlDeviceGetUUID, device);
    return text(target, size, device->uuid);
}

typedef struct {
    char legacy[16];
    u32 domain, bus, device, device_id, subsystem_id;
    char id[32];
} PciInfo;

int nvmlDeviceGetPciInfo_v3(Device *device, PciInfo *info) {
    BEGIN(nvmlDeviceGetPciInfo_v3, device);
    memset(info, 0, sizeof *info);
    if (!device->pci[0]) return NOT_SUPPORTED;
    sscanf(device->pci, "%x:%x:%x", &info->domain, &info->bus, &info->device);
    snprintf(info->legacy, sizeof info->legacy, "%04X:%02X:%02X.0", info->domain & 0xFFFF,
             info->bus & 0xFF, info->device & 0xFF);
    snprintf(info->id, sizeof info->id, "%s", device->pci);
    info->device_id = 0x268410DE;
    return SUCCESS;
}

int nvmlDeviceGetArchitecture(Device *device, u32 *target) {
    BEGIN(nvmlDeviceGetArchitecture, device);
    *target = 8;
    return SUCCESS;
}

int nvmlDeviceGetCudaComputeCapability(Device *device, int *major_number, int *minor_number) {
    BEGIN(nvmlDeviceGetCudaComputeCapability, device);
    *major_number = 8;
    *minor_number = 9;
    return SUCCESS;
}

/* ---- Memory ---- */

typedef struct { u64 total, free, used; } Memory;
typedef struct { u32 version; u64 total, reserved, free, used; } MemoryV2;

int nvmlDeviceGetMemoryInfo(Device *device, Memory *memory) {
    BEGIN(nvmlDeviceGetMemoryInfo, device);
    if (!device->known[FIGURE_total]) return NOT_SUPPORTED;
    u64 total = device->figures[FIGURE_total], reserved = device->figures[FIGURE_reserved];
    u64 used = device->figures[FIGURE_used];
    memory->free = total - reserved - used;
    /* Before 510 the reserve was not part of the total; since then v1 counts it as used. */
    memory->total = major() < 510 ? total - reserved : total;
    memory->used = memory->total - memory->free;
    return SUCCESS;
}

int nvmlDeviceGetMemoryInfo_v2(Device *device, MemoryV2 *memory) {
    BEGIN(nvmlDeviceGetMemoryInfo_v2, device);
    if (major() < 510) return FUNCTION_NOT_FOUND;
    if (memory->version != (sizeof *memory | 2u << 24)) return VERSION_MISMATCH;
    if (!device->known[FIGURE_total]) return NOT_SUPPORTED;
    memory->total = device->figures[FIGURE_total];
    memory->reserved = device->figures[FIGURE_reserved];
    memory->used = device->figures[FIGURE_used];
    memory->free = memory->total - memory->reserved - memory->used;
    return SUCCESS;
}

int nvmlDeviceGetBAR1MemoryInfo(Device *device, Memory *memory) {
    BEGIN(nvmlDeviceGetBAR1MemoryInfo, device);
    if (device->parent) return NOT_SUPPORTED;
    memory->total = 256 << 20;
    memory->used = 2 << 20;
    memory->free = memory->total - memory->used;
    return SUCCESS;
}

/* ---- Figures ---- */

typedef struct { u32 gpu, memory; } Utilization;

int nvmlDeviceGetUtilizationRates(Device *device, Utilization *target) {
    BEGIN(nvmlDeviceGetUtilizationRates, device);
    refused = number(device, FIGURE_gpu_percent, &target->gpu);
    return refused ? refused : number(device, FIGURE_memory_percent, &target->memory);
}

#define CODEC(name) \
    int name(Device *device, u32 *percent, u32 *period_us) { \
        BEGIN(name, device); \
        if (!device->known[FIGURE_gpu_percent]) return NOT_SUPPORTED; \
        *percent = 0; \
        *period_us = 167000; \
        return SUCCESS; \
    }
CODEC(nvmlDeviceGetEncoderUtilization)
CODEC(nvmlDeviceGetDecoderUtilization)

int nvmlDeviceGetTemperature(Device *device, u32 sensor, u32 *target) {
    BEGIN(nvmlDeviceGetTemperature, device);
    return sensor ? INVALID_ARGUMENT : number(device, FIGURE_celsius, target);
}

typedef struct { u32 version, sensor; int celsius; } Temperature;

int nvmlDeviceGetTemperatureV(Device *device, Temperature *temperature) {
    BEGIN(nvmlDeviceGetTemperatureV, device);
    if (major() < 570) return FUNCTION_NOT_FOUND;
    if (temperature->version != (sizeof *temperature | 1u << 24)) return VERSION_MISMATCH;
    return number(device, FIGURE_celsius, (u32 *)&temperature->celsius);
}

int nvmlDeviceGetTemperatureThreshold(Device *device, u32 threshold, u32 *target) {
    BEGIN(nvmlDeviceGetTemperatureThreshold, device);
    if (threshold > 1) return NOT_SUPPORTED;
    return number(device, threshold ? FIGURE_slowdown_celsius : FIGURE_shutdown_celsius, target);
}

#define FIGURE(name, figure) \
    int name(Device *device, u32 *target) { \
        BEGIN(name, device); \
        return number(device, FIGURE_##figure, target); \
    }
FIGURE(nvmlDeviceGetPowerUsage, milliwatts)
FIGURE(nvmlDeviceGetPowerManagementLimit, limit_milliwatts)
FIGURE(nvmlDeviceGetEnforcedPowerLimit, limit_milliwatts)
FIGURE(nvmlDeviceGetPerformanceState, pstate)
FIGURE(nvmlDeviceGetNumFans, fans)
FIGURE(nvmlDeviceGetFanSpeed, fan0)

int nvmlDeviceGetFanSpeed_v2(Device *device, u32 fan, u32 *target) {
    BEGIN(nvmlDeviceGetFanSpeed_v2, device);
    if (!device->known[FIGURE_fans]) return NOT_SUPPORTED;
    if (fan >= device->figures[FIGURE_fans]) return INVALID_ARGUMENT;
    return number(device, FIGURE_fan0 + (int)fan, target);
}

int nvmlDeviceGetTotalEnergyConsumption(Device *device, u64 *target) {
    BEGIN(nvmlDeviceGetTotalEnergyConsumption, device);
    *target = device->figures[FIGURE_millijoules];
    return device->known[FIGURE_millijoules] ? SUCCESS : NOT_SUPPORTED;
}

static int clock_figure(u32 clock) {
    return clock == 2 ? FIGURE_memory_mhz : FIGURE_graphics_mhz;
}

int nvmlDeviceGetClockInfo(Device *device, u32 clock, u32 *target) {
    BEGIN(nvmlDeviceGetClockInfo, device);
    return number(device, clock_figure(clock), target);
}

int nvmlDeviceGetMaxClockInfo(Device *device, u32 clock, u32 *target) {
    BEGIN(nvmlDeviceGetMaxClockInfo, device);
    return number(device, clock_figure(clock), target);
}

int nvmlDeviceGetCurrentClocksThrottleReasons(Device *device, u64 *target) {
    BEGIN(nvmlDeviceGetCurrentClocksThrottleReasons, device);
    *target = device->figures[FIGURE_throttle];
    return device->known[FIGURE_throttle] ? SUCCESS : NOT_SUPPORTED;
}

int nvmlDeviceGetCurrentClocksEventReasons(Device *device, u64 *target) {
    BEGIN(nvmlDeviceGetCurrentClocksEventReasons, device);
    if (major() < 535) return FUNCTION_NOT_FOUND;
    *target = device->figures[FIGURE_throttle];
    return device->known[FIGURE_throttle] ? SUCCESS : NOT_SUPPORTED;
}

int nvmlDeviceGetTotalEccErrors(Device *device, u32 kind, u32 counter, u64 *target) {
    BEGIN(nvmlDeviceGetTotalEccErrors, device);
    (void)counter;
    int figure = kind ? FIGURE_ecc_uncorrected : FIGURE_ecc_corrected;
    *target = device->figures[figure];
    return device->known[figure] ? SUCCESS : NOT_SUPPORTED;
}

int nvmlDeviceGetDriverModel_v2(Device *device, u32 *current, u32 *pending) {
    BEGIN(nvmlDeviceGetDriverModel_v2, device);
    refused = number(device, FIGURE_driver_model, current);
    return refused ? refused : number(device, FIGURE_driver_model, pending);
}

typedef struct {
    u32 field, scope;
    long long timestamp, latency_us;
    int type, code;
    union { double real; u32 number; u64 large; } value;
} FieldValue;

int nvmlDeviceGetFieldValues(Device *device, int count, FieldValue *values) {
    BEGIN(nvmlDeviceGetFieldValues, device);
    for (int i = 0; i < count; i++) {
        FieldValue *value = &values[i];
        value->type = 1;
        value->code = NOT_SUPPORTED;
        value->timestamp = value->latency_us = 0;
        if (value->field == 82) {
            value->code = number(device, FIGURE_memory_celsius, &value->value.number);
        } else if (value->field == 230 && major() >= 570) {
            value->code = number(device, FIGURE_recovery, &value->value.number);
        }
    }
    return SUCCESS;
}

#define FIXED(name, answer) \
    int name(Device *device, u32 *target) { \
        BEGIN(name, device); \
        *target = answer; \
        return SUCCESS; \
    }
FIXED(nvmlDeviceGetDisplayActive, 0)
FIXED(nvmlDeviceGetDisplayMode, 0)
FIXED(nvmlDeviceGetPersistenceMode, 1)
FIXED(nvmlDeviceGetComputeMode, 0)

int nvmlDeviceGetPcieThroughput(Device *device, u32 counter, u32 *target) {
    BEGIN(nvmlDeviceGetPcieThroughput, device);
    (void)counter;
    *target = 0;
    return SUCCESS;
}

/* ---- Processes ---- */

typedef struct { u32 pid; u64 bytes; } ProcessInfoV1;
typedef struct { u32 pid; u64 bytes; u32 gpu_instance, compute_instance; } ProcessInfo;

static void put_processes(const Device *device, int kind, u32 *found, u32 room, void *target, bool v1) {
    for (int i = 0; i < device->processes; i++) {
        const Process *process = &device->process[i];
        if (process->kind != kind) continue;
        if (*found < room && v1) {
            ((ProcessInfoV1 *)target)[*found] = (ProcessInfoV1){process->pid, process->bytes};
        } else if (*found < room) {
            bool part = device->parent != NULL;
            ((ProcessInfo *)target)[*found] =
                (ProcessInfo){process->pid, process->bytes, part ? device->gpu_instance : NO_INSTANCE,
                              part ? device->compute_instance : NO_INSTANCE};
        }
        ++*found;
    }
}

/* A card that is split tells of its instances' processes too. */
static int processes(const Device *device, int kind, u32 *count, void *target, bool v1) {
    u32 found = 0, room = target ? *count : 0;
    put_processes(device, kind, &found, room, target, v1);
    for (int i = 0; i < device->instances; i++) {
        put_processes(device->instance[i], kind, &found, room, target, v1);
    }
    *count = found;
    return found > room ? INSUFFICIENT_SIZE : SUCCESS;
}

#define PROCESSES(name, kind, since, v1) \
    int name(Device *device, u32 *count, void *target) { \
        BEGIN(name, device); \
        if (major() < since) return FUNCTION_NOT_FOUND; \
        return processes(device, kind, count, target, v1); \
    }
PROCESSES(nvmlDeviceGetComputeRunningProcesses, COMPUTE, 0, true)
PROCESSES(nvmlDeviceGetComputeRunningProcesses_v2, COMPUTE, 450, false)
PROCESSES(nvmlDeviceGetComputeRunningProcesses_v3, COMPUTE, 510, false)
PROCESSES(nvmlDeviceGetGraphicsRunningProcesses, GRAPHICS, 0, true)
PROCESSES(nvmlDeviceGetGraphicsRunningProcesses_v2, GRAPHICS, 450, false)
PROCESSES(nvmlDeviceGetGraphicsRunningProcesses_v3, GRAPHICS, 510, false)
PROCESSES(nvmlDeviceGetMPSComputeRunningProcesses_v2, MPS, 450, false)
PROCESSES(nvmlDeviceGetMPSComputeRunningProcesses_v3, MPS, 510, false)

int nvmlDeviceGetProcessUtilization(Device *device, void *samples, u32 *count, u64 since) {
    BEGIN(nvmlDeviceGetProcessUtilization, device);
    (void)samples, (void)since;
    *count = 0;
    return NOT_FOUND;
}

/* ---- MIG ---- */

int nvmlDeviceGetMigMode(Device *device, u32 *current, u32 *pending) {
    BEGIN(nvmlDeviceGetMigMode, device);
    refused = number(device, FIGURE_mig_mode, current);
    return refused ? refused : number(device, FIGURE_mig_mode, pending);
}

int nvmlDeviceIsMigDeviceHandle(Device *device, u32 *target) {
    BEGIN(nvmlDeviceIsMigDeviceHandle, device);
    *target = device->parent != NULL;
    return SUCCESS;
}

int nvmlDeviceGetMaxMigDeviceCount(Device *device, u32 *count) {
    BEGIN(nvmlDeviceGetMaxMigDeviceCount, device);
    *count = device->known[FIGURE_mig_mode] ? 7 : 0;
    return SUCCESS;
}

int nvmlDeviceGetMigDeviceHandleByIndex(Device *device, u32 index, Device **target) {
    BEGIN(nvmlDeviceGetMigDeviceHandleByIndex, device);
    if (index >= (u32)device->instances) return NOT_FOUND;
    *target = device->instance[index];
    return SUCCESS;
}

int nvmlDeviceGetDeviceHandleFromMigDeviceHandle(Device *device, Device **target) {
    BEGIN(nvmlDeviceGetDeviceHandleFromMigDeviceHandle, device);
    if (!device->parent) return INVALID_ARGUMENT;
    *target = device->parent;
    return SUCCESS;
}

int nvmlDeviceGetGpuInstanceId(Device *device, u32 *target) {
    BEGIN(nvmlDeviceGetGpuInstanceId, device);
    *target = device->gpu_instance;
    return device->parent ? SUCCESS : NOT_SUPPORTED;
}

int nvmlDeviceGetComputeInstanceId(Device *device, u32 *target) {
    BEGIN(nvmlDeviceGetComputeInstanceId, device);
    *target = device->compute_instance;
    return device->parent ? SUCCESS : NOT_SUPPORTED;
}

/* ---- Events: a set hears of the Xids that come after a card was registered with it ---- */

typedef struct { Device *device[MAX_CARDS]; int heard[MAX_CARDS]; int devices; } EventSet;
typedef struct { Device *device; u64 type, data; u32 gpu_instance, compute_instance; } EventData;
#define XID_EVENT 8u

int nvmlDeviceGetSupportedEventTypes(Device *device, u64 *types) {
    BEGIN(nvmlDeviceGetSupportedEventTypes, device);
    *types = device->figures[FIGURE_events];
    return device->known[FIGURE_events] ? SUCCESS : NOT_SUPPORTED;
}

int nvmlEventSetCreate(EventSet **target) {
    BEGIN(nvmlEventSetCreate, NULL);
    *target = calloc(1, sizeof **target);
    return SUCCESS;
}

int nvmlDeviceRegisterEvents(Device *device, u64 types, EventSet *set) {
    BEGIN(nvmlDeviceRegisterEvents, device);
    if (!device->known[FIGURE_events] || types & ~device->figures[FIGURE_events])
        return NOT_SUPPORTED;
    set->device[set->devices] = device;
    set->heard[set->devices++] = device->xids;
    return SUCCESS;
}

int nvmlEventSetWait_v2(EventSet *set, EventData *data, u32 timeout_ms) {
    BEGIN(nvmlEventSetWait_v2, NULL);
    (void)timeout_ms;
    bool lost = false;
    for (int i = 0; i < set->devices; i++) {
        Device *device = set->device[i];
        if (set->heard[i] < device->xids) {
            u64 xid = (u64)device->xid[set->heard[i]++];
            *data = (EventData){device, XID_EVENT, xid, NO_INSTANCE, NO_INSTANCE};
            return SUCCESS;
        }
        set->heard[i] = device->xids;
        lost |= judged(CALL_nvmlEventSetWait_v2, device) == GPU_IS_LOST;
    }
    return lost ? GPU_IS_LOST : TIMEOUT;
}

int nvmlEventSetFree(EventSet *set) {
    BEGIN(nvmlEventSetFree, NULL);
    free(set);
    return SUCCESS;
}
