/* Keys of ids: hashed, put in order, and found (labels/keys.py and labels/runs.py say what comes out). Part of _compiled.c. */

#define SEED 0x9E3779B97F4A7C15u
#define STEP 0xD6E8FEB86659FD93u
#define LONGEST 64     /* bytes of an id that are taken as they are */
#define PART_SHIFT 54  /* parts by the first 10 bits: each of ten million keys fits into a core's cache */
#define PARTS (1 << (64 - PART_SHIFT))
#define SORTED_SHIFT 38 /* bits from here on are put in order by counting */
#define DIGITS 256
#define FEW 64 /* keys that are put in order one by one */

typedef struct {
    uint64_t key;
    uint32_t row;
} Placed;

/* Up to eight bytes, the first one lowest, then zeros. */
static uint64_t word_of(const uint8_t *text, size_t bytes) {
    uint64_t word = 0;
    size_t i;
    if (bytes >= 8) /* of a fixed length a compiler makes one load */
        return (uint64_t)text[0] | (uint64_t)text[1] << 8 | (uint64_t)text[2] << 16 | (uint64_t)text[3] << 24 |
               (uint64_t)text[4] << 32 | (uint64_t)text[5] << 40 | (uint64_t)text[6] << 48 | (uint64_t)text[7] << 56;
    for (i = 0; i < bytes; i++)
        word |= (uint64_t)text[i] << (8 * i);
    return word;
}

static uint64_t key_of(const uint8_t *text, size_t bytes) {
    uint64_t mixed = (uint64_t)bytes * SEED;
    size_t at;
    for (at = 0; at < bytes; at += 8) {
        mixed = (mixed ^ word_of(text + at, bytes - at)) * STEP;
        mixed = (mixed ^ (mixed >> 32)) * SEED;
    }
    mixed = (mixed ^ (mixed >> 32)) * 0xFF51AFD7ED558CCDu;
    mixed = (mixed ^ (mixed >> 32)) * 0xC4CEB9FE1A85EC53u;
    return mixed ^ (mixed >> 32);
}

/* 1, or 0 where an id is longer than what is taken as it is, or the offsets are none. */
static int hash_ids(const uint8_t *texts, Py_ssize_t size, const int32_t *offsets, Py_ssize_t n, int first,
                    uint64_t *found) {
    Py_ssize_t i;
    for (i = 0; i < n; i++) {
        int32_t begin = offsets[i], end = offsets[i + 1];
        if (begin < 0 || end < begin || end > size)
            return 0;
        if (first && end - begin >= 2 && texts[end - 1] == '0' && texts[end - 2] == '/')
            end -= 2;
        if (end - begin > LONGEST)
            return 0;
        found[i] = key_of(texts + begin, (size_t)(end - begin));
    }
    return 1;
}

static PyObject *keys_of(PyObject *Py_UNUSED(module), PyObject *arguments) {
    Py_buffer texts, offsets, found;
    int first, done = 0, fit;
    if (!PyArg_ParseTuple(arguments, "y*y*pw*:keys", &texts, &offsets, &first, &found))
        return NULL;
    fit = offsets.itemsize == 4 && found.itemsize == 8 && offsets.len / 4 == found.len / 8 + 1;
    if (fit) {
        Py_BEGIN_ALLOW_THREADS
        done = hash_ids(texts.buf, texts.len, offsets.buf, found.len / 8, first, found.buf);
        Py_END_ALLOW_THREADS
    } else {
        PyErr_SetString(PyExc_ValueError, "keys: the arrays do not fit together");
    }
    PyBuffer_Release(&texts);
    PyBuffer_Release(&offsets);
    PyBuffer_Release(&found);
    return fit ? PyBool_FromLong(done) : NULL;
}

PyDoc_STRVAR(keys_doc,
"keys($module, texts, offsets, first, found, /)\n--\n\n"
"The keys (uint64) of texts, which lie in bytes between their offsets (int32); `first` has an ending `/0` left out.\n"
"False, and nothing of use, where one is longer than 64 bytes.");

static int by_key(const void *left, const void *right) {
    const Placed *a = left, *b = right;
    if (a->key != b->key)
        return a->key < b->key ? -1 : 1;
    return a->row < b->row ? -1 : a->row > b->row;
}

/* One by one, which is quickest where most are in their place; many whose upper bits are the same were made to be. */
static void finish(Placed *rows, Py_ssize_t n) {
    Py_ssize_t first, last, i, j;
    for (first = 0; first < n; first = last) {
        for (last = first + 1; last < n && rows[last].key >> SORTED_SHIFT == rows[first].key >> SORTED_SHIFT; last++)
            ;
        if (last - first > FEW) {
            qsort(rows + first, (size_t)(last - first), sizeof(Placed), by_key);
            continue;
        }
        for (i = first + 1; i < last; i++) {
            Placed row = rows[i];
            for (j = i; j > first && rows[j - 1].key > row.key; j--)
                rows[j] = rows[j - 1];
            rows[j] = row;
        }
    }
}

/* Rows of one digit after those of a lower one, as they come. */
static void by_digit(const Placed *rows, Placed *sorted, Py_ssize_t n, int shift) {
    Py_ssize_t ends[DIGITS] = {0}, sum = 0, i;
    for (i = 0; i < n; i++)
        ends[(rows[i].key >> shift) & (DIGITS - 1)]++;
    for (i = 0; i < DIGITS; i++) {
        Py_ssize_t held = ends[i];
        ends[i] = sum;
        sum += held;
    }
    for (i = 0; i < n; i++)
        sorted[ends[(rows[i].key >> shift) & (DIGITS - 1)]++] = rows[i];
}

/* By the first bits into parts, then part by part while it is in the cache. 0 where there is no memory. */
static int sort_rows(uint64_t *keys, uint32_t *order, Py_ssize_t n) {
    Py_ssize_t starts[PARTS + 1] = {0}, ends[PARTS], largest = 0, part, i;
    Placed *rows, *other;
    for (i = 0; i < n; i++)
        starts[(keys[i] >> PART_SHIFT) + 1]++;
    for (part = 0; part < PARTS; part++) {
        if (starts[part + 1] > largest)
            largest = starts[part + 1];
        starts[part + 1] += starts[part];
        ends[part] = starts[part];
    }
    rows = malloc(((size_t)n + 1) * sizeof(Placed));
    other = malloc(((size_t)largest + 1) * sizeof(Placed));
    if (rows != NULL && other != NULL) {
        for (i = 0; i < n; i++)
            rows[ends[keys[i] >> PART_SHIFT]++] = (Placed){keys[i], (uint32_t)i};
        for (part = 0; part < PARTS; part++) {
            Placed *mine = rows + starts[part];
            Py_ssize_t size = starts[part + 1] - starts[part];
            if (size > FEW) {
                by_digit(mine, other, size, SORTED_SHIFT);
                by_digit(other, mine, size, SORTED_SHIFT + 8);
                finish(mine, size);
            } else if (size > 1) {
                qsort(mine, (size_t)size, sizeof(Placed), by_key);
            }
            for (i = starts[part]; i < starts[part + 1]; i++) {
                keys[i] = rows[i].key;
                order[i] = rows[i].row;
            }
        }
    }
    i = rows != NULL && other != NULL;
    free(rows);
    free(other);
    return (int)i;
}

static PyObject *sort(PyObject *Py_UNUSED(module), PyObject *arguments) {
    Py_buffer keys, order;
    int done = 0, fit;
    if (!PyArg_ParseTuple(arguments, "w*w*:sort", &keys, &order))
        return NULL;
    fit = keys.itemsize == 8 && order.itemsize == 4 && keys.len / 8 == order.len / 4 && keys.len / 8 <= UINT32_MAX;
    if (fit) {
        Py_BEGIN_ALLOW_THREADS
        done = sort_rows(keys.buf, order.buf, keys.len / 8);
        Py_END_ALLOW_THREADS
        if (!done)
            PyErr_NoMemory();
    } else {
        PyErr_SetString(PyExc_ValueError, "sort: the arrays do not fit together");
    }
    PyBuffer_Release(&keys);
    PyBuffer_Release(&order);
    if (!done)
        return NULL;
    Py_RETURN_NONE;
}

PyDoc_STRVAR(sort_doc,
"sort($module, keys, order, /)\n--\n\n"
"Put keys (uint64) in order where they lie; `order` (uint32) takes where each one was, of equal ones the first before.");

/* The first row from `low` on whose key is no smaller; `guess` is where it may be. */
static Py_ssize_t lowest(const uint64_t *keys, Py_ssize_t n, Py_ssize_t low, Py_ssize_t guess, uint64_t key) {
    Py_ssize_t high = n, step = 1;
    if (guess > low && keys[guess] >= key) {
        for (high = guess; high - step >= low && keys[high - step] >= key; step *= 2)
            high -= step;
        if (high - step >= low)
            low = high - step + 1;
    } else {
        for (low = guess > low ? guess : low; low < n && keys[low] < key; step *= 2) {
            if (low + step >= n || keys[low + step] >= key) {
                high = low + step < n ? low + step : n;
                low++;
                break;
            }
            low += step;
        }
        if (low < n && keys[low] >= key)
            return low;
    }
    while (low < high) {
        Py_ssize_t middle = low + (high - low) / 2;
        if (keys[middle] < key)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Keys are spread evenly: where the next one lies is known but for a few rows. */
static void find_rows(const uint64_t *keys, Py_ssize_t n, const uint64_t *wanted, Py_ssize_t m, int64_t *rows) {
    double density = (double)n / 18446744073709551616.0;
    int far = m < n / 4;
    Py_ssize_t at = 0, i;
    for (i = 0; i < m; i++) {
        Py_ssize_t guess = 0;
        if (i > 0 && wanted[i] < wanted[i - 1])
            at = 0;
        if (far && i > 0 && at > 0)
            guess = at + (Py_ssize_t)((double)(wanted[i] - wanted[i - 1]) * density);
        else if (far)
            guess = (Py_ssize_t)((double)wanted[i] * density);
        at = lowest(keys, n, at, guess < n ? guess : n - 1, wanted[i]);
        rows[i] = at < n && keys[at] == wanted[i] ? (int64_t)at : -1;
    }
}

static PyObject *find(PyObject *Py_UNUSED(module), PyObject *arguments) {
    Py_buffer keys, wanted, rows;
    int fit;
    if (!PyArg_ParseTuple(arguments, "y*y*w*:find", &keys, &wanted, &rows))
        return NULL;
    fit = keys.itemsize == 8 && wanted.itemsize == 8 && rows.itemsize == 8 && wanted.len == rows.len;
    if (fit) {
        Py_BEGIN_ALLOW_THREADS
        find_rows(keys.buf, keys.len / 8, wanted.buf, wanted.len / 8, rows.buf);
        Py_END_ALLOW_THREADS
    } else {
        PyErr_SetString(PyExc_ValueError, "find: the arrays do not fit together");
    }
    PyBuffer_Release(&keys);
    PyBuffer_Release(&wanted);
    PyBuffer_Release(&rows);
    if (!fit)
        return NULL;
    Py_RETURN_NONE;
}

PyDoc_STRVAR(find_doc,
"find($module, keys, wanted, rows, /)\n--\n\n"
"Where in `keys` (uint64, in order) each of `wanted` lies: `rows` (int64), -1 where it does not. Quickest for those in order.");
