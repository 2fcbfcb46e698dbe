/* What runs for each row and each number: reading plain rows, and counting numbers in their bins.

Plain rows are read on the request path, while they are in the cache, into 8 bytes a number and one a category.

A row is plain if it is a dict of exactly the known columns, with floats, integers, booleans and None for numbers, known
texts or integers, or None, for categories, and answers that nobody can change later. Any other row is refused, unchanged, and
is read in Python (rows.py), which is the definition: what is packed here counts the same.

Nothing here runs Python code while a row is half written: keys are exact strings, values are of exact types, and the only
object that the collector tracks is the error of an integer too large, after which the row is given up. So no lock is needed
beyond the interpreter's own.
*/

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_ROOM 256 /* rows */
#define ANSWERS 2      /* score, prediction */
#define MOST_SUM 1e250  /* one that overflowed must not make all that follow infinite */
#define ARGUMENTS 8    /* features, score, prediction, and five that have to be None */

typedef struct {
    PyObject *key;     /* of the last row at this place: the same object again needs no lookup */
    Py_ssize_t column; /* numbers first, then categories */
} Place;

typedef struct {
    PyObject *key; /* an exact string */
    Py_hash_t hash;
    uint8_t slot;
} Entry;

typedef struct {
    PyObject *all;  /* dict: category -> slot; what it learns is found here, too */
    Entry *entries; /* its texts, in half of the time that the dict takes */
    size_t mask, free;
    int16_t small[2]; /* slots of the integers 0 and 1, which in `all` would be False and True; -1 where not known */
    uint8_t missing;  /* slot of None */
} Table;

typedef struct {
    double *numbers;    /* rows x numbers */
    uint8_t *slots;     /* rows x categories */
    PyObject **answers; /* rows x (score, prediction) */
    Py_ssize_t rows, room;
} Held;

typedef struct {
    PyObject_HEAD
    PyObject *columns; /* dict: name -> column */
    Table *tables;     /* of each category */
    Place *places;
    Py_ssize_t numbers, categories, limit;
    Held held;
} Packed;

static void *grown(void *old, Py_ssize_t rows, Py_ssize_t width, size_t size) {
    size_t bytes = (size_t)rows * (size_t)width * size;
    return realloc(old, bytes ? bytes : 1);
}

static int grow(Packed *self) {
    Held *held = &self->held;
    Py_ssize_t room = held->room ? 2 * held->room : FIRST_ROOM;
    void *numbers, *slots, *answers;
    if (room > self->limit)
        room = self->limit;
    if (room <= held->rows)
        return 0;
    if ((numbers = grown(held->numbers, room, self->numbers, sizeof(double))) != NULL)
        held->numbers = numbers;
    if ((slots = grown(held->slots, room, self->categories, 1)) != NULL)
        held->slots = slots;
    if ((answers = grown(held->answers, room, ANSWERS, sizeof(PyObject *))) != NULL)
        held->answers = answers;
    if (numbers == NULL || slots == NULL || answers == NULL)
        return 0;
    held->room = room;
    return 1;
}

static void release(Held *held) {
    Py_ssize_t i, n = held->rows * ANSWERS;
    PyObject **answers = held->answers;
    free(held->numbers);
    free(held->slots);
    memset(held, 0, sizeof(Held));
    for (i = 0; i < n; i++)
        Py_DECREF(answers[i]);
    free(answers);
}

/* 1 and the value where it is plain, else 0. */
static int number(PyObject *value, double *found) {
    if (PyFloat_Check(value)) {
        *found = PyFloat_AsDouble(value);
        return 1;
    }
    if (value == Py_None) {
        *found = NAN;
        return 1;
    }
    if (PyLong_CheckExact(value) || PyBool_Check(value)) {
        *found = PyLong_AsDouble(value);
        if (*found == -1.0 && PyErr_Occurred()) {
            PyErr_Clear();
            return 0;
        }
        return 1;
    }
    return 0;
}

static void learn(Table *table, PyObject *key, Py_hash_t hash, uint8_t slot) {
    size_t i;
    if (table->free == 0)
        return;
    for (i = (size_t)hash & table->mask; table->entries[i].key != NULL; i = (i + 1) & table->mask)
        ;
    Py_INCREF(key);
    table->entries[i] = (Entry){key, hash, slot};
    table->free--;
}

/* That integer, or -1 for any other. */
static int zero_or_one(PyObject *value) {
    int overflow;
    long found = PyLong_AsLongAndOverflow(value, &overflow);
    return overflow == 0 && (found == 0 || found == 1) ? (int)found : -1;
}

/* 1 and the slot of a known category, else 0. */
static int slot_of(Table *table, PyObject *value, uint8_t *found) {
    PyObject *known;
    Py_hash_t hash = 0;
    int text = PyUnicode_CheckExact(value), small;
    size_t i;
    if (value == Py_None) {
        *found = table->missing;
        return 1;
    }
    if (text) {
        hash = PyObject_Hash(value);
        for (i = (size_t)hash & table->mask; table->entries[i].key != NULL; i = (i + 1) & table->mask) {
            Entry *entry = &table->entries[i];
            if (entry->key == value || (entry->hash == hash && PyUnicode_Compare(entry->key, value) == 0)) {
                *found = entry->slot;
                return 1;
            }
        }
    } else if (!PyLong_CheckExact(value)) {
        return 0;
    } else if ((small = zero_or_one(value)) >= 0) {
        *found = (uint8_t)table->small[small];
        return table->small[small] >= 0;
    }
    known = PyDict_GetItemWithError(table->all, value);
    if (known == NULL) {
        PyErr_Clear();
        return 0;
    }
    *found = (uint8_t)PyLong_AsLong(known);
    if (text)
        learn(table, value, hash, *found);
    return 1;
}

/* The column of the key at this place of a row, or -1. */
static Py_ssize_t column(Packed *self, Place *place, PyObject *key) {
    PyObject *known;
    if (place->key == key)
        return place->column;
    if (!PyUnicode_CheckExact(key))
        return -1;
    known = PyDict_GetItemWithError(self->columns, key);
    if (known == NULL) {
        PyErr_Clear();
        return -1;
    }
    place->column = PyLong_AsSsize_t(known);
    Py_INCREF(key);
    known = place->key;
    place->key = key;
    Py_XDECREF(known); /* an exact string: freeing it runs no code */
    return place->column;
}

/* Reads the row behind the last one. */
static int read_row(Packed *self, PyObject *features) {
    Held *held = &self->held;
    double *numbers = held->numbers + held->rows * self->numbers;
    uint8_t *slots = held->slots + held->rows * self->categories;
    Place *place = self->places;
    PyObject *key, *value;
    Py_ssize_t at = 0, found;
    while (PyDict_Next(features, &at, &key, &value)) {
        found = column(self, place++, key);
        if (found < 0)
            return 0;
        if (found < self->numbers) {
            if (!number(value, numbers + found))
                return 0;
        } else {
            found -= self->numbers;
            if (!slot_of(self->tables + found, value, slots + found))
                return 0;
        }
    }
    return 1; /* as many keys as there are columns, all different and known: each column was read */
}

/* Whether an answer may change before it is counted: a list, a dict, an array, a frame. */
static int changeable(PyObject *answer) {
    if (answer == Py_None || PyFloat_Check(answer) || PyLong_Check(answer) || PyUnicode_Check(answer))
        return 0;
    return PyDict_Check(answer) || PySequence_Check(answer);
}

static PyObject *append(PyObject *object, PyObject *const *arguments, Py_ssize_t n) {
    Packed *self = (Packed *)object;
    Held *held = &self->held;
    Py_ssize_t i;
    if (n != ARGUMENTS) {
        PyErr_Format(PyExc_TypeError, "append: %zd arguments; give the %d fields of a row", n, ARGUMENTS);
        return NULL;
    }
    if (!PyDict_CheckExact(arguments[0]) || PyDict_Size(arguments[0]) != self->numbers + self->categories)
        Py_RETURN_FALSE;
    for (i = 1; i <= ANSWERS; i++)
        if (changeable(arguments[i]))
            Py_RETURN_FALSE;
    for (; i < ARGUMENTS; i++)
        if (arguments[i] != Py_None)
            Py_RETURN_FALSE;
    if (held->rows == held->room && !grow(self))
        Py_RETURN_FALSE;
    if (!read_row(self, arguments[0]))
        Py_RETURN_FALSE;
    for (i = 0; i < ANSWERS; i++) {
        Py_INCREF(arguments[1 + i]);
        held->answers[ANSWERS * held->rows + i] = arguments[1 + i];
    }
    held->rows++;
    Py_RETURN_TRUE;
}

PyDoc_STRVAR(append_doc,
"append($self, features, score, prediction, id, time, segments, delivered, rule, /)\n--\n\n"
"Whether the row was plain and is held. One that has an id, a time, segments, an answer that may change, or was overridden\n"
"is not.");

/* One of the answers of each row. */
static PyObject *listed(Held *held, Py_ssize_t which) {
    PyObject *list = PyList_New(held->rows);
    Py_ssize_t i;
    for (i = 0; list != NULL && i < held->rows; i++) {
        PyObject *answer = held->answers[ANSWERS * i + which];
        Py_INCREF(answer);
        if (PyList_SetItem(list, i, answer) < 0)
            Py_CLEAR(list);
    }
    return list;
}

static PyObject *drain(PyObject *object, PyObject *Py_UNUSED(nothing)) {
    Packed *self = (Packed *)object;
    Held held = self->held; /* detached first: making objects may start the collector, and that anything */
    PyObject *numbers, *slots = NULL, *scores = NULL, *predictions = NULL, *all = NULL;
    memset(&self->held, 0, sizeof(Held));
    numbers = PyBytes_FromStringAndSize((char *)held.numbers, held.rows * self->numbers * (Py_ssize_t)sizeof(double));
    if (numbers && (slots = PyBytes_FromStringAndSize((char *)held.slots, held.rows * self->categories)) &&
        (scores = listed(&held, 0)) && (predictions = listed(&held, 1)))
        all = Py_BuildValue("(nOOOO)", held.rows, numbers, slots, scores, predictions);
    Py_XDECREF(numbers);
    Py_XDECREF(slots);
    Py_XDECREF(scores);
    Py_XDECREF(predictions);
    release(&held);
    return all;
}

PyDoc_STRVAR(drain_doc,
"drain($self, /)\n--\n\n"
"The rows held: how many, their numbers (float64) and slots (uint8), both row by row, scores and predictions.\n"
"None is held after it.");

static Py_ssize_t length(PyObject *object) {
    return ((Packed *)object)->held.rows;
}

/* The slot of a text, or -1. */
static int16_t slot_of_text(PyObject *all, const char *text) {
    PyObject *key = PyUnicode_FromString(text), *known = NULL;
    if (key != NULL)
        known = PyDict_GetItemWithError(all, key);
    Py_XDECREF(key);
    return known == NULL ? -1 : (int16_t)PyLong_AsLong(known);
}

static int fill_table(Table *table, PyObject *all, PyObject *missing) {
    PyObject *key, *value;
    Py_ssize_t at = 0;
    long slot = PyLong_AsLong(missing);
    size_t room = 32;
    if (!PyDict_Check(all) || slot < 0 || slot > UINT8_MAX) {
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_ValueError, "tables, missing: give dicts, and slots of 0 to 255");
        return 0;
    }
    while (room < 2 * (size_t)PyDict_Size(all))
        room *= 2;
    if ((table->entries = calloc(room, sizeof(Entry))) == NULL) {
        PyErr_NoMemory();
        return 0;
    }
    Py_INCREF(all);
    table->all = all;
    table->mask = room - 1;
    table->free = room / 2;
    table->missing = (uint8_t)slot;
    table->small[0] = slot_of_text(all, "0");
    table->small[1] = slot_of_text(all, "1");
    while (PyDict_Next(all, &at, &key, &value))
        if (PyUnicode_CheckExact(key))
            learn(table, key, PyObject_Hash(key), (uint8_t)PyLong_AsLong(value));
    return !PyErr_Occurred();
}

static int fill(Packed *self, PyObject *numbers, PyObject *categories, PyObject *tables, PyObject *missing) {
    Py_ssize_t i, n = PyTuple_Size(numbers), m = PyTuple_Size(categories);
    if (PyTuple_Size(tables) != m || PyTuple_Size(missing) != m) {
        PyErr_SetString(PyExc_ValueError, "tables, missing: give one for each category");
        return 0;
    }
    self->columns = PyDict_New();
    self->places = calloc((size_t)(n + m) + 1, sizeof(Place));
    self->tables = calloc((size_t)m + 1, sizeof(Table));
    if (self->columns == NULL || self->places == NULL || self->tables == NULL) {
        if (!PyErr_Occurred())
            PyErr_NoMemory();
        return 0;
    }
    self->numbers = n;
    self->categories = m;
    for (i = 0; i < n + m; i++) {
        PyObject *name = i < n ? PyTuple_GetItem(numbers, i) : PyTuple_GetItem(categories, i - n);
        PyObject *place = PyLong_FromSsize_t(i);
        int failed = place == NULL || PyDict_SetItem(self->columns, name, place) < 0;
        Py_XDECREF(place);
        if (failed)
            return 0;
    }
    for (i = 0; i < m; i++)
        if (!fill_table(self->tables + i, PyTuple_GetItem(tables, i), PyTuple_GetItem(missing, i)))
            return 0;
    if (PyDict_Size(self->columns) != n + m) {
        PyErr_SetString(PyExc_ValueError, "numbers, categories: a name is there twice");
        return 0;
    }
    return 1;
}

static PyObject *make(PyTypeObject *type, PyObject *arguments, PyObject *keywords) {
    static char *names[] = {"numbers", "categories", "tables", "missing", "limit", NULL};
    PyObject *numbers, *categories, *tables, *missing;
    Py_ssize_t limit;
    Packed *self;
    allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "O!O!O!O!n:Packed", names, &PyTuple_Type, &numbers,
                                     &PyTuple_Type, &categories, &PyTuple_Type, &tables, &PyTuple_Type, &missing,
                                     &limit))
        return NULL;
    if ((self = (Packed *)allocate(type, 0)) == NULL)
        return NULL;
    self->limit = limit;
    if (!fill(self, numbers, categories, tables, missing)) {
        Py_DECREF(self);
        return NULL;
    }
    return (PyObject *)self;
}

static int traverse(PyObject *object, visitproc visit, void *arg) {
    Packed *self = (Packed *)object;
    Py_ssize_t i;
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(self->columns);
    for (i = 0; self->tables != NULL && i < self->categories; i++)
        Py_VISIT(self->tables[i].all);
    for (i = 0; i < ANSWERS * self->held.rows; i++)
        Py_VISIT(self->held.answers[i]);
    return 0;
}

static int clear(PyObject *object) {
    Packed *self = (Packed *)object;
    Held held = self->held;
    memset(&self->held, 0, sizeof(Held));
    release(&held);
    return 0; /* columns and tables stay: they hold strings and integers, and `append` may still come */
}

static void forget(Table *table) {
    size_t i;
    for (i = 0; table->entries != NULL && i <= table->mask; i++)
        Py_XDECREF(table->entries[i].key);
    free(table->entries);
    Py_XDECREF(table->all);
}

static void dealloc(PyObject *object) {
    Packed *self = (Packed *)object;
    PyTypeObject *type = Py_TYPE(object);
    freefunc give_back = (freefunc)PyType_GetSlot(type, Py_tp_free);
    Py_ssize_t i;
    PyObject_GC_UnTrack(object);
    clear(object);
    for (i = 0; i < self->numbers + self->categories; i++)
        Py_XDECREF(self->places[i].key);
    for (i = 0; i < self->categories; i++)
        forget(self->tables + i);
    free(self->places);
    free(self->tables);
    Py_XDECREF(self->columns);
    give_back(object);
    Py_DECREF(type);
}

PyDoc_STRVAR(packed_doc,
"Packed(numbers, categories, tables, missing, limit)\n--\n\n"
"Holds up to `limit` plain rows as bytes. `tables` give the slot of each known category, `missing` that of None.");

static PyMethodDef methods[] = {
    {"append", (PyCFunction)(void (*)(void))append, METH_FASTCALL, append_doc},
    {"drain", drain, METH_NOARGS, drain_doc},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_doc, (void *)packed_doc}, {Py_tp_new, make},       {Py_tp_dealloc, dealloc}, {Py_tp_traverse, traverse},
    {Py_tp_clear, clear},            {Py_tp_methods, methods}, {Py_sq_length, length},   {0, NULL},
};

static PyType_Spec spec = {
    "barograph._compiled.Packed", sizeof(Packed), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC, slots,
};

typedef struct {
    const double *edges;
    Py_ssize_t size; /* slots: of values, then of what is missing, then of what is invalid */
    const void *table;
    int wide; /* whether the table holds uint16, and not uint8 */
    int shift;
    double centre;
} Binned;

/* As NumericBins.index: the edges that are no larger than x. */
static Py_ssize_t searched(const Binned *bins, double x) {
    Py_ssize_t low = 0, high = bins->size - 3;
    if (isnan(x))
        return bins->size - 2;
    if (isinf(x))
        return bins->size - 1;
    while (low < high) {
        Py_ssize_t middle = (low + high) / 2;
        if (bins->edges[middle] <= x)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* As Lookup.index for one column; `sums` are those of these values alone. */
static void count_values(const Binned *bins, const double *values, Py_ssize_t rows, Py_ssize_t step, int64_t *counts,
                         double *sums) {
    Py_ssize_t i, slot;
    for (i = 0; i < rows; i++) {
        double x = values[i * step];
        float narrow = (float)(x - bins->centre);
        uint32_t key;
        memcpy(&key, &narrow, sizeof key);
        key >>= bins->shift;
        slot = bins->wide ? ((const uint16_t *)bins->table)[key] : ((const uint8_t *)bins->table)[key];
        if (slot >= bins->size) /* ambiguous */
            slot = searched(bins, x);
        counts[slot]++;
        sums[slot] += x;
    }
}

static double bounded(double sum) {
    return sum > MOST_SUM ? MOST_SUM : sum < -MOST_SUM ? -MOST_SUM : sum;
}

static int count_buffers(Py_buffer *values, Py_ssize_t first, Py_ssize_t step, Py_buffer *table, int bits, double centre,
                         Py_buffer *edges, Py_buffer *counts, Py_buffer *sums) {
    Py_ssize_t n = values->len / 8, rows, i;
    Binned bins = {edges->buf, edges->len / 8 + 3, table->buf, table->itemsize == 2, 32 - bits, centre};
    double *own;
    if (values->itemsize != 8 || edges->itemsize != 8 || counts->itemsize != 8 || sums->itemsize != 8 ||
        (table->itemsize != 1 && table->itemsize != 2) || bits < 1 || bits > 24 ||
        table->len != ((Py_ssize_t)1 << bits) * table->itemsize || counts->len != bins.size * 8 ||
        sums->len != counts->len || first < 0 || step < 1) {
        PyErr_SetString(PyExc_ValueError, "count: the arrays do not fit together");
        return 0;
    }
    if ((own = calloc((size_t)bins.size, sizeof(double))) == NULL) {
        PyErr_NoMemory();
        return 0;
    }
    rows = n > first ? (n - first + step - 1) / step : 0;
    Py_BEGIN_ALLOW_THREADS
    count_values(&bins, (const double *)values->buf + first, rows, step, counts->buf, own);
    Py_END_ALLOW_THREADS
    for (i = 0; i < bins.size - 2; i++) /* the last two are not values */
        ((double *)sums->buf)[i] += bounded(own[i]);
    free(own);
    return 1;
}

static PyObject *count(PyObject *Py_UNUSED(module), PyObject *arguments) {
    Py_buffer values, table, edges, counts, sums;
    Py_ssize_t first, step;
    double centre;
    int bits, done;
    if (!PyArg_ParseTuple(arguments, "y*nny*idy*w*w*:count", &values, &first, &step, &table, &bits, &centre, &edges,
                          &counts, &sums))
        return NULL;
    done = count_buffers(&values, first, step, &table, bits, centre, &edges, &counts, &sums);
    PyBuffer_Release(&values);
    PyBuffer_Release(&table);
    PyBuffer_Release(&edges);
    PyBuffer_Release(&counts);
    PyBuffer_Release(&sums);
    if (!done)
        return NULL;
    Py_RETURN_NONE;
}

PyDoc_STRVAR(count_doc,
"count($module, values, first, step, table, bits, centre, edges, counts, sums, /)\n--\n\n"
"Count values (float64: each `step`-th from `first` on) in their slots (counts: int64), and add them up (sums: float64).\n"
"`table` (uint8 or uint16) gives the slot of a key of so many `bits`; one that is no slot says to search the edges.");

/* How many of the places come before the first one that there is not. */
static Py_ssize_t tally_places(int64_t *counts, Py_ssize_t size, const int64_t *places, Py_ssize_t n, int64_t sign) {
    Py_ssize_t i;
    for (i = 0; i < n; i++) {
        if ((uint64_t)places[i] >= (uint64_t)size)
            break;
        counts[places[i]] += sign;
    }
    return i;
}

static PyObject *tally(PyObject *Py_UNUSED(module), PyObject *arguments) {
    Py_buffer counts, places;
    Py_ssize_t done = -1;
    int sign;
    if (!PyArg_ParseTuple(arguments, "w*y*i:tally", &counts, &places, &sign))
        return NULL;
    if (counts.itemsize == 8 && places.itemsize == 8) {
        Py_BEGIN_ALLOW_THREADS
        done = tally_places(counts.buf, counts.len / 8, places.buf, places.len / 8, sign);
        Py_END_ALLOW_THREADS
    }
    done = done == places.len / 8;
    PyBuffer_Release(&counts);
    PyBuffer_Release(&places);
    if (!done) {
        PyErr_SetString(PyExc_ValueError, "tally: the arrays do not fit together");
        return NULL;
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(tally_doc,
"tally($module, counts, places, sign, /)\n--\n\n"
"Add `sign` to the counts (int64) at some places (int64), as often as each is named.");

#include "_compiled_keys.c"

static PyMethodDef functions[] = {
    {"count", count, METH_VARARGS, count_doc}, {"keys", keys_of, METH_VARARGS, keys_doc},
    {"sort", sort, METH_VARARGS, sort_doc},    {"find", find, METH_VARARGS, find_doc},
    {"tally", tally, METH_VARARGS, tally_doc}, {NULL, NULL, 0, NULL},
};

static int execute(PyObject *module) {
    PyObject *type = PyType_FromModuleAndSpec(module, &spec, NULL);
    int failed = type == NULL || PyModule_AddType(module, (PyTypeObject *)type) < 0;
    Py_XDECREF(type);
    return failed ? -1 : 0;
}

static PyModuleDef_Slot module_slots[] = {{Py_mod_exec, execute}, {0, NULL}};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, "_compiled", "Reads plain rows, and counts numbers.", 0, functions, module_slots, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__compiled(void) { return PyModuleDef_Init(&module); }
