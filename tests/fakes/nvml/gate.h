/* What every call goes through: it is counted, delayed, held up or refused as the scenario says. */
#pragma once
#include "world.h"

__attribute__((constructor)) static void loaded(void) {
    const char *folder = getenv("TIERWATCH_FAKE_NVML");
    if (!folder) {
        fprintf(stderr, "fake nvml: TIERWATCH_FAKE_NVML is not set\n");
        abort();
    }
    char path[4096];
    snprintf(path, sizeof path, "%s/control", folder);
    int file = open(path, O_RDWR | O_CLOEXEC);
    void *memory = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (file >= 0) close(file);
    control = memory == MAP_FAILED ? &no_control : memory;
    seen_generation = control->generation;
    read_scenario();
    snprintf(mapped, sizeof mapped, "%s", library);
}

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
    if ((found = matching(rule, rules, call))) return found->code;
    if (device) {
        if (!is_device(device)) return INVALID_ARGUMENT;
        if (!device->present) return device->parent ? INVALID_ARGUMENT : GPU_IS_LOST;
        if ((found = matching(device->rule, device->rules, call))) return found->code;
        const Device *parent = device->parent;
        if (parent && (found = matching(parent->rule, parent->rules, call)) &&
            found->call[0] == '*') {
            return found->code;
        }
    }
    return SUCCESS;
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
