/* Processes, MIG instances and events. */
#pragma once
#include "gate.h"

/* Every layout that NVML had is the beginning of the next: pid and bytes before driver 450, then
 * with the instances, and for a while in 535 with protected memory as well (WIDE_PROCESSES).
 */
typedef struct {
    u32 pid;
    u64 bytes;
    u32 gpu_instance, compute_instance;
    u64 protected_bytes;
} Entry;
enum { FIRST_ENTRY = 16, USUAL_ENTRY = 24, WIDE_ENTRY = sizeof(Entry) };
#ifdef WIDE_PROCESSES
enum { V3_ENTRY = WIDE_ENTRY };
#else
enum { V3_ENTRY = USUAL_ENTRY };
#endif

static void put_processes(const Device *device, int kind, u32 *found, u32 room, char *target,
                          size_t size) {
    for (int i = 0; i < device->processes; i++) {
        const Process *process = &device->process[i];
        if (process->kind != kind) continue;
        if (*found < room) {
            bool part = device->parent != NULL;
            Entry entry = {process->pid, process->bytes, part ? device->gpu_instance : NO_INSTANCE,
                           part ? device->compute_instance : NO_INSTANCE, 0};
            memcpy(target + *found * size, &entry, size);
        }
        ++*found;
    }
}

/* A card that is split tells of its instances' processes too. */
static int processes(const Device *device, int kind, u32 *count, void *target, size_t size) {
    u32 found = 0, room = target ? *count : 0;
    put_processes(device, kind, &found, room, target, size);
    for (int i = 0; i < device->instances; i++) {
        put_processes(device->instance[i], kind, &found, room, target, size);
    }
    *count = found;
    return found > room ? INSUFFICIENT_SIZE : SUCCESS;
}

#define PROCESSES(name, kind, since, size) \
    int name(Device *device, u32 *count, void *target) { \
        BEGIN(name, device); \
        if (major() < since) return FUNCTION_NOT_FOUND; \
        return processes(device, kind, count, target, size); \
    }
PROCESSES(nvmlDeviceGetComputeRunningProcesses, COMPUTE, 0, FIRST_ENTRY)
PROCESSES(nvmlDeviceGetComputeRunningProcesses_v2, COMPUTE, 450, USUAL_ENTRY)
PROCESSES(nvmlDeviceGetComputeRunningProcesses_v3, COMPUTE, 510, V3_ENTRY)
PROCESSES(nvmlDeviceGetGraphicsRunningProcesses, GRAPHICS, 0, FIRST_ENTRY)
PROCESSES(nvmlDeviceGetGraphicsRunningProcesses_v2, GRAPHICS, 450, USUAL_ENTRY)
PROCESSES(nvmlDeviceGetGraphicsRunningProcesses_v3, GRAPHICS, 510, V3_ENTRY)
PROCESSES(nvmlDeviceGetMPSComputeRunningProcesses_v2, MPS, 450, USUAL_ENTRY)
PROCESSES(nvmlDeviceGetMPSComputeRunningProcesses_v3, MPS, 510, V3_ENTRY)

int nvmlDeviceGetProcessUtilization(Device *device, void *samples, u32 *count, u64 since) {
    BEGIN(nvmlDeviceGetProcessUtilization, device);
    (void)samples, (void)since;
    *count = 0;
    return NOT_FOUND;
}

#ifdef WIDE_PROCESSES
/* Its presence is how a reader tells these drivers from the others. */
int nvmlDeviceGetConfComputeMemSizeInfo(Device *device, void *target) {
    (void)device, (void)target;
    return NOT_SUPPORTED;
}
#endif

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
