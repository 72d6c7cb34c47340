/* What a value may be, and values as a codec writes them: twins of `is_plain` in format/values.py and `is_native` in
   format/msgpack.py. */

#include "native.h"

static bool is_scalar(PyObject *value) {
    return value == Py_None || PyUnicode_CheckExact(value) || PyLong_CheckExact(value) || PyFloat_CheckExact(value)
        || PyBytes_CheckExact(value) || PyBool_Check(value);
}

/* 1 or 0; -1 with an exception. A leaf that is no scalar is for `twin` to judge, none if there is no twin. */
static int is_made_of_scalars(PyObject *value, long depth, PyObject *twin) {
    if (is_scalar(value))
        return 1;
    bool is_dict = PyDict_CheckExact(value);
    if (!is_dict && !PyList_CheckExact(value)) {
        if (!twin)
            return 0;
        PyObject *told = PyObject_CallFunction(twin, "Ol", value, depth);
        int verdict = told ? PyObject_IsTrue(told) : -1;
        Py_XDECREF(told);
        return verdict;
    }
    if (depth > VALUE_DEPTH_MAX)
        return 0;
    PyObject *key, *child;
    Py_ssize_t at = 0;
    while (is_dict ? PyDict_Next(value, &at, &key, &child) : at < PyList_Size(value)) {
        if (is_dict) {
            if (!is_scalar(key))
                return 0;
        } else {
            child = PyList_GetItem(value, at++);
        }
        if (is_scalar(child))
            continue;
        /* The twin lets other threads run, who may take the child out. */
        Py_INCREF(child);
        int verdict = is_made_of_scalars(child, depth + 1, twin);
        Py_DECREF(child);
        if (verdict != 1)
            return verdict;
    }
    return 1;
}

static PyObject *judge(PyObject *twin, PyObject *const *arguments, Py_ssize_t count, bool asks_for_leaves) {
    long depth = 1;
    if (count == 2) {
        depth = PyLong_AsLong(arguments[1]);
        if (depth == -1 && PyErr_Occurred())
            return NULL;
    } else if (count != 1) {
        return ask_twin(twin, arguments, count);
    }
    int verdict = is_made_of_scalars(arguments[0], depth, asks_for_leaves ? twin : NULL);
    return verdict < 0 ? NULL : PyBool_FromLong(verdict);
}

static PyObject *is_plain(PyObject *twin, PyObject *const *arguments, Py_ssize_t count) {
    return judge(twin, arguments, count, false);
}

static PyObject *is_native(PyObject *twin, PyObject *const *arguments, Py_ssize_t count) {
    return judge(twin, arguments, count, true);
}

PyMethodDef value_functions[] = {
    {"is_plain", (PyCFunction)(void (*)(void))is_plain, METH_FASTCALL, NULL},
    {"is_native", (PyCFunction)(void (*)(void))is_native, METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};

Form form_of(PyObject *codec) {
    PyObject *name = PyObject_GetAttrString(codec, "name");
    Form form = FORM_OTHER;
    if (!name || !PyUnicode_Check(name))
        PyErr_Clear();
    else if (PyUnicode_CompareWithASCIIString(name, "raw") == 0)
        form = FORM_RAW;
    else if (PyUnicode_CompareWithASCIIString(name, "cbor") == 0)
        form = FORM_CBOR;
    Py_XDECREF(name);
    return form;
}

PyObject *value_at_once(Form form, PyObject *value) {
    if (form == FORM_RAW && PyBytes_CheckExact(value))
        return Py_NewRef(value);
    return form == FORM_CBOR ? value_as_cbor(value) : NULL;
}

PyObject *value_as_bytes(Form form, PyObject *encode, PyObject *value) {
    PyObject *made = value_at_once(form, value);
    if (made || PyErr_Occurred())
        return made;
    made = PyObject_CallFunctionObjArgs(encode, value, NULL);
    if (made && !PyBytes_CheckExact(made)) {
        Py_DECREF(made);
        PyErr_SetString(PyExc_TypeError, "a codec encodes to bytes");
        return NULL;
    }
    return made;
}
