/* journalkit._speed: the steps of hot paths, compiled. Optional; `journalkit.compiled` says whether it is used. */

#include "native.h"

static PyMethodDef *const with_twins[] = {
    key_functions, value_functions, cbor_functions, frame_functions, batch_functions, chunk_functions, block_functions,
};

PyObject *ask_twin(PyObject *twin, PyObject *const *arguments, Py_ssize_t count) {
    PyObject *all = PyTuple_New(count), *answer = NULL;
    if (all) {
        for (Py_ssize_t at = 0; at < count; at++)
            PyTuple_SetItem(all, at, Py_NewRef(arguments[at]));
        answer = PyObject_Call(twin, all, NULL);
        Py_DECREF(all);
    }
    return answer;
}

/* bind(twin): the compiled function of that name, which asks `twin` for what is out of the ordinary. */
static PyObject *bind(PyObject *Py_UNUSED(module), PyObject *twin) {
    PyObject *name = PyObject_GetAttrString(twin, "__name__");
    if (!name || !PyUnicode_Check(name)) {
        Py_XDECREF(name);
        return NULL;
    }
    for (size_t at = 0; at < sizeof with_twins / sizeof *with_twins; at++)
        for (PyMethodDef *each = with_twins[at]; each->ml_name; each++)
            if (PyUnicode_CompareWithASCIIString(name, each->ml_name) == 0) {
                Py_DECREF(name);
                return PyCFunction_NewEx(each, twin, NULL);
            }
    PyErr_Format(PyExc_LookupError, "nothing compiled is named %U", name);
    Py_DECREF(name);
    return NULL;
}

static PyMethodDef functions[] = {
    {"bind", bind, METH_O, "Return the compiled function that has this one's name, with this one for all the rest."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "journalkit._speed", "Steps of hot paths, compiled.", -1, functions, NULL, NULL, NULL, NULL,
};

/* What a test compares with the format. */
static int add_numbers(PyObject *module) {
    static const struct { const char *name; long value; } numbers[] = {
        {"FRAME_HEADER_BYTES", FRAME_HEADER_BYTES}, {"FRAME_MAGIC", FRAME_MAGIC},
        {"KIND_BATCH", KIND_BATCH}, {"ENTRY_HEADER_BYTES", ENTRY_HEADER_BYTES},
        {"TOMBSTONE", (long)TOMBSTONE}, {"KEY_BYTES_MAX", KEY_BYTES_MAX},
        {"KEY_DEPTH_MAX", KEY_DEPTH_MAX}, {"VALUE_DEPTH_MAX", VALUE_DEPTH_MAX},
        {"PAYLOAD_BYTES_MAX", PAYLOAD_BYTES_MAX}, {"BLOCK_START_BYTES", BLOCK_START_BYTES},
        {"BLOCK_ROW_BYTES", BLOCK_ROW_BYTES}, {"BLOCK_ENTRY_BYTES", BLOCK_ENTRY_BYTES},
        {"BLOCK_CRC_BYTES", BLOCK_CRC_BYTES}, {"PAGE_HEAD_BYTES", PAGE_HEAD_BYTES},
        {"PAGE_OVERHEAD_BYTES", PAGE_OVERHEAD_BYTES}, {"PAGE_BLOCKS", PAGE_BLOCKS},
        {"CACHED_BLOCK_BYTES", CACHED_BLOCK_BYTES}, {"FILTERED_READS", FILTERED_READS},
        {"ASKED_PLACES", ASKED_PLACES}, {"ASKED_MAX", ASKED_MAX}, {"PATIENCE", PATIENCE},
    };
    for (size_t at = 0; at < sizeof numbers / sizeof *numbers; at++)
        if (PyModule_AddIntConstant(module, numbers[at].name, numbers[at].value) < 0)
            return -1;
    return 0;
}

PyMODINIT_FUNC PyInit__speed(void) {
    checksum_begin();
    PyObject *module = PyModule_Create(&definition);
    if (module
        && (PyModule_AddFunctions(module, checksum_functions) < 0 || PyModule_AddFunctions(module, posix_functions) < 0
            || add_numbers(module) < 0 || add_fields_types(module) < 0 || add_lane_type(module) < 0
            || add_finder_type(module) < 0 || add_reads_type(module) < 0))
        Py_CLEAR(module);
    return module;
}
