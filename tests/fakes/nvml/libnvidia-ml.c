/* A driver without a GPU: NVML's ABI, as nvidia-ml-py loads it, answering what a scenario says.
 *
 * $TIERWATCH_FAKE_NVML is a folder (made by tests/fakes/nvml/__init__.py) with two files:
 *   scenario  the world, as lines of words (see world.h); replaced by rename
 *   control   mapped into memory: a generation, raised after each new scenario, and a count of
 *             every call made, by all processes that have the library loaded
 *
 * Struct layouts and version numbers are nvml.h's, as nvidia-ml-py 13 declares them. Functions that
 * an old driver lacks answer FUNCTION_NOT_FOUND: nvidia-ml-py turns a missing symbol into the same.
 */
#include "gate.h"
#include "holders.h"

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
    return number(device, counter ? FIGURE_pcie_received : FIGURE_pcie_sent, target);
}
