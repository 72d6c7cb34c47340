/* CRC32C, by the processor's instruction where there is one, by eight tables elsewhere. */

#include "native.h"

static uint32_t tables[8][256];
static uint32_t (*step)(const unsigned char *data, size_t size, uint32_t state);

static uint32_t by_tables(const unsigned char *data, size_t size, uint32_t state) {
    for (; size >= 8; data += 8, size -= 8) {
        uint32_t low = load32(data) ^ state, high = load32(data + 4);
        state = tables[7][low & 0xFF] ^ tables[6][low >> 8 & 0xFF] ^ tables[5][low >> 16 & 0xFF] ^ tables[4][low >> 24]
              ^ tables[3][high & 0xFF] ^ tables[2][high >> 8 & 0xFF] ^ tables[1][high >> 16 & 0xFF]
              ^ tables[0][high >> 24];
    }
    for (; size; data++, size--)
        state = tables[0][(state ^ *data) & 0xFF] ^ state >> 8;
    return state;
}

#if defined(__x86_64__) && defined(__GNUC__)

#include <nmmintrin.h>

__attribute__((target("sse4.2")))
static uint32_t by_instruction(const unsigned char *data, size_t size, uint32_t state) {
    uint64_t wide = state;
    for (; size >= 8; data += 8, size -= 8) {
        uint64_t word;
        memcpy(&word, data, 8);
        wide = _mm_crc32_u64(wide, word);
    }
    state = (uint32_t)wide;
    for (; size; data++, size--)
        state = _mm_crc32_u8(state, *data);
    return state;
}

/* The instruction gives its result three steps after it began: three stretches at a time keep it busy. */
#define STRETCH_BYTES 1024
static uint32_t behind_a_stretch[4][256];

static uint32_t moved(uint32_t state) {
    return behind_a_stretch[0][state & 0xFF] ^ behind_a_stretch[1][state >> 8 & 0xFF]
         ^ behind_a_stretch[2][state >> 16 & 0xFF] ^ behind_a_stretch[3][state >> 24];
}

__attribute__((target("sse4.2")))
static uint32_t by_three(const unsigned char *data, size_t size, uint32_t state) {
    for (; size >= 3 * STRETCH_BYTES; data += 3 * STRETCH_BYTES, size -= 3 * STRETCH_BYTES) {
        uint64_t first = state, second = 0, third = 0, words[3];
        for (size_t at = 0; at < STRETCH_BYTES; at += 8) {
            memcpy(words, data + at, 8);
            memcpy(words + 1, data + STRETCH_BYTES + at, 8);
            memcpy(words + 2, data + 2 * STRETCH_BYTES + at, 8);
            first = _mm_crc32_u64(first, words[0]);
            second = _mm_crc32_u64(second, words[1]);
            third = _mm_crc32_u64(third, words[2]);
        }
        state = moved(moved((uint32_t)first) ^ (uint32_t)second) ^ (uint32_t)third;
    }
    return by_instruction(data, size, state);
}

/* What a stretch of zeros does to each state: it is linear, so 32 of them tell. */
static void prepare_stretches(void) {
    static const unsigned char zeros[STRETCH_BYTES];
    for (int byte = 0; byte < 4; byte++)
        for (int bit = 0; bit < 8; bit++) {
            uint32_t one = by_tables(zeros, STRETCH_BYTES, 1u << (8 * byte + bit));
            for (int below = 0; below < 1 << bit; below++)
                behind_a_stretch[byte][below | 1 << bit] = behind_a_stretch[byte][below] ^ one;
        }
}

static bool has_instruction(void) { return __builtin_cpu_supports("sse4.2"); }

#elif defined(__aarch64__) && defined(__ARM_FEATURE_CRC32)

#include <arm_acle.h>

static uint32_t by_instruction(const unsigned char *data, size_t size, uint32_t state) {
    for (; size >= 8; data += 8, size -= 8)
        state = __crc32cd(state, load64(data));
    for (; size; data++, size--)
        state = __crc32cb(state, *data);
    return state;
}

#define by_three by_instruction

static void prepare_stretches(void) {}

static bool has_instruction(void) { return true; }

#else

#define by_three by_tables

static void prepare_stretches(void) {}

static bool has_instruction(void) { return false; }

#endif

void checksum_begin(void) {
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t state = byte;
        for (int bit = 0; bit < 8; bit++)
            state = state >> 1 ^ (state & 1 ? 0x82F63B78u : 0);
        tables[0][byte] = state;
    }
    for (int table = 1; table < 8; table++)
        for (uint32_t byte = 0; byte < 256; byte++)
            tables[table][byte] = tables[0][tables[table - 1][byte] & 0xFF] ^ tables[table - 1][byte] >> 8;
    prepare_stretches();
    step = has_instruction() ? by_three : by_tables;
}

uint32_t checksum(const unsigned char *data, size_t size, uint32_t seed) {
    return ~step(data, size, ~seed);
}

/* checksums(data, seed): for tests, both ways, whichever this machine takes. */
static PyObject *checksums(PyObject *Py_UNUSED(module), PyObject *arguments) {
    const char *data;
    Py_ssize_t size;
    unsigned long seed;
    if (!PyArg_ParseTuple(arguments, "y#k", &data, &size, &seed))
        return NULL;
    const unsigned char *start = (const unsigned char *)data;
    return Py_BuildValue("kk", (unsigned long)checksum(start, (size_t)size, (uint32_t)seed),
                         (unsigned long)~by_tables(start, (size_t)size, ~(uint32_t)seed));
}

PyMethodDef checksum_functions[] = {
    {"checksums", checksums, METH_VARARGS, "Return the CRC32C as it is reckoned here, and by tables."},
    {NULL, NULL, 0, NULL},
};
