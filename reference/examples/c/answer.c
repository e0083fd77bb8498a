/* Answers some tasks of the reference suite, in C99 with nothing but its library: what another language needs to join.

       cc -std=c99 -O2 -o answer answer.c -lm
       minidiff verify run -- ./answer                 (a process: one JSON object a line)
       minidiff verify export tasks && ./answer tasks && minidiff verify check tasks          (files)

   The first half reads requests and arrays; the second half is the implementation that is verified. reference/PROTOCOL.md says what
   a request looks like; it is flat, on one line and in ASCII, so that looking for a key is enough to read it. */

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_ARRAYS = 64, MAX_DIMS = 6, MAX_PATH = 4096 };

typedef struct {
    char name[128], dtype[8];
    int dims;
    size_t shape[MAX_DIMS], size;      /* size: how many elements */
    float *data;                       /* float32 values, or NULL for integers */
    int64_t *integers;
} Array;

typedef struct {
    int count;
    Array arrays[MAX_ARRAYS];
} Arrays;

/* -- requests ------------------------------------------------------------------------------------------------------ */

static const char *find(const char *json, const char *key) {      /* what stands behind "key": */
    char quoted[160];
    snprintf(quoted, sizeof quoted, "\"%s\":", key);
    const char *place = strstr(json, quoted);
    if (!place) return NULL;
    place += strlen(quoted);
    while (*place == ' ') place++;
    return place;
}

static int is(const char *json, const char *key, const char *value) {      /* whether "key" is the string "value" */
    const char *place = find(json, key);
    size_t length = strlen(value);
    return place && *place == '"' && !strncmp(place + 1, value, length) && place[1 + length] == '"';
}

static void text(const char *json, const char *key, char *out, size_t size) {
    const char *place = find(json, key);
    size_t n = 0;
    if (place && *place == '"')
        for (place++; *place && *place != '"' && n + 1 < size; place++) {
            if (*place == '\\' && place[1]) place++;
            out[n++] = *place;
        }
    out[n] = 0;
}

static int numbers(const char *json, const char *key, double *out, int most) {      /* a number, or a list of them: how many */
    const char *place = find(json, key);
    int n = 0;
    if (!place) return 0;
    int list = *place == '[';
    place += list;
    while (n < most) {
        char *end;
        double value = strtod(place, &end);
        if (end == place) break;
        out[n++] = value;
        if (!list) break;
        place = end + strspn(end, ", ");
    }
    return n;
}

static double number(const char *json, const char *key) {
    double value = NAN;
    numbers(json, key, &value, 1);
    return value;
}

/* -- safetensors: the length of the header, the header in JSON, the numbers ------------------------------------------ */

static char *read_file(const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    if (!file) return NULL;
    fseek(file, 0, SEEK_END);
    *size = (size_t)ftell(file);
    rewind(file);
    char *bytes = malloc(*size + 1);
    if (fread(bytes, 1, *size, file) != *size) { free(bytes); bytes = NULL; }
    else bytes[*size] = 0;
    fclose(file);
    return bytes;
}

static int read_arrays(const char *path, Arrays *into) {
    size_t size, header = 0;
    char *bytes = read_file(path, &size);
    into->count = 0;
    if (!bytes || size < 8) return 0;
    for (int i = 7; i >= 0; i--) header = header << 8 | (unsigned char)bytes[i];
    char *json = bytes + 8, *numbers_at = json + header, *place = json;
    while (into->count < MAX_ARRAYS && (place = strchr(place, '"')) && place < numbers_at) {
        Array *array = &into->arrays[into->count];
        char *end = strchr(place + 1, '"'), *close = strchr(place, '}');
        snprintf(array->name, sizeof array->name, "%.*s", (int)(end - place - 1), place + 1);
        place = close + 1;
        if (!strcmp(array->name, "__metadata__")) continue;
        double shape[MAX_DIMS], offsets[2];
        text(end + 1, "dtype", array->dtype, sizeof array->dtype);
        array->dims = numbers(end + 1, "shape", shape, MAX_DIMS);
        numbers(end + 1, "data_offsets", offsets, 2);
        array->size = 1;
        for (int i = 0; i < array->dims; i++) array->size *= array->shape[i] = (size_t)shape[i];
        int floats = !strcmp(array->dtype, "F32");
        array->data = floats ? malloc(array->size * sizeof(float) + 1) : NULL;
        array->integers = floats ? NULL : malloc(array->size * sizeof(int64_t) + 1);
        memcpy(floats ? (void *)array->data : (void *)array->integers, numbers_at + (size_t)offsets[0], (size_t)(offsets[1] - offsets[0]));
        into->count++;
    }
    free(bytes);
    return 1;
}

static int write_array(const char *path, const char *name, const Array *array) {
    char header[1024];
    int n = snprintf(header, sizeof header, "{\"%s\":{\"dtype\":\"F32\",\"shape\":[", name);
    for (int i = 0; i < array->dims; i++) n += snprintf(header + n, sizeof header - n, i ? ",%zu" : "%zu", array->shape[i]);
    n += snprintf(header + n, sizeof header - n, "],\"data_offsets\":[0,%zu]}}", array->size * sizeof(float));
    while (n % 8) header[n++] = ' ';
    FILE *file = fopen(path, "wb");
    if (!file) return 0;
    for (int i = 0; i < 8; i++) fputc(i < 4 ? n >> 8 * i & 255 : 0, file);
    fwrite(header, 1, (size_t)n, file);
    fwrite(array->data, sizeof(float), array->size, file);
    return fclose(file) == 0;
}

static void release(Arrays *arrays) {
    for (int i = 0; i < arrays->count; i++) { free(arrays->arrays[i].data); free(arrays->arrays[i].integers); }
    arrays->count = 0;
}

static const Array *input(const Arrays *inputs, const char *name) {
    for (int i = 0; i < inputs->count; i++)
        if (!strcmp(inputs->arrays[i].name, name)) return &inputs->arrays[i];
    return NULL;
}

static void make(Array *array, int dims, const size_t *shape) {
    array->dims = dims;
    array->size = 1;
    for (int i = 0; i < dims; i++) array->size *= array->shape[i] = shape[i];
    array->data = calloc(array->size + 1, sizeof(float));
    array->integers = NULL;
}

/* -- the implementation that is verified ---------------------------------------------------------------------------- */

static const char *skipped;      /* why the last operation did not answer */

static int skip(const char *reason) {
    skipped = reason;
    return 0;
}

static int silu(const char *json, const Arrays *in, Array *out) {
    (void)json;
    const Array *x = input(in, "input");
    make(out, x->dims, x->shape);
    for (size_t i = 0; i < x->size; i++) out->data[i] = x->data[i] / (1.0f + expf(-x->data[i]));
    return 1;
}

static int linear(const char *json, const Arrays *in, Array *out) {      /* y[..., j] = sum_i x[..., i] w[j, i] + b[j] */
    (void)json;
    const Array *x = input(in, "input"), *w = input(in, "weight"), *b = input(in, "bias");
    size_t features = w->shape[1], outputs = w->shape[0], rows = x->size / features, shape[MAX_DIMS];
    memcpy(shape, x->shape, sizeof shape);
    shape[x->dims - 1] = outputs;
    make(out, x->dims, shape);
    for (size_t n = 0; n < rows; n++)
        for (size_t j = 0; j < outputs; j++) {
            float sum = b ? b->data[j] : 0.0f;
            for (size_t i = 0; i < features; i++) sum += x->data[n * features + i] * w->data[j * features + i];
            out->data[n * outputs + j] = sum;
        }
    return 1;
}

static int group_norm(const char *json, const Arrays *in, Array *out) {
    const Array *x = input(in, "input"), *w = input(in, "weight"), *b = input(in, "bias");
    size_t channels = x->shape[1], positions = x->size / x->shape[0] / channels, groups = (size_t)number(json, "num_groups");
    size_t size = channels / groups * positions;
    float eps = (float)number(json, "eps");
    make(out, x->dims, x->shape);
    for (size_t g = 0; g < x->shape[0] * groups; g++) {
        const float *in_group = x->data + g * size;
        float mean = 0.0f, variance = 0.0f;
        for (size_t i = 0; i < size; i++) mean += in_group[i];
        mean /= (float)size;
        for (size_t i = 0; i < size; i++) variance += (in_group[i] - mean) * (in_group[i] - mean);
        float scale = 1.0f / sqrtf(variance / (float)size + eps);
        for (size_t i = 0; i < size; i++) {
            size_t channel = g % groups * (channels / groups) + i / positions;
            out->data[g * size + i] = (in_group[i] - mean) * scale * (w ? w->data[channel] : 1.0f) + (b ? b->data[channel] : 0.0f);
        }
    }
    return 1;
}

static void pair(const char *json, const char *key, long out[2]) {      /* one number for both directions, or two */
    double values[2] = {0, 0};
    int n = numbers(json, key, values, 2);
    out[0] = (long)values[0];
    out[1] = (long)values[n > 1];
}

static int conv2d(const char *json, const Arrays *in, Array *out) {      /* the sum over taps, no kernel is flipped */
    const Array *x = input(in, "input"), *w = input(in, "weight"), *b = input(in, "bias");
    long stride[2], pad[2], dilation[2];
    const char *padding = find(json, "padding");
    if (x->dims != 4) return skip("conv2d without a batch");
    if (!padding || *padding == '"') return skip("padding by name");
    pair(json, "stride", stride), pair(json, "padding", pad), pair(json, "dilation", dilation);
    size_t groups = (size_t)number(json, "groups"), per_group = w->shape[0] / groups;
    size_t shape[4] = {x->shape[0], w->shape[0], 0, 0};
    for (int i = 0; i < 2; i++)
        shape[2 + i] = ((long)x->shape[2 + i] + 2 * pad[i] - dilation[i] * ((long)w->shape[2 + i] - 1) - 1) / stride[i] + 1;
    make(out, 4, shape);
    float *y = out->data;
    for (size_t n = 0; n < shape[0]; n++)
        for (size_t o = 0; o < shape[1]; o++)
            for (size_t row = 0; row < shape[2]; row++)
                for (size_t column = 0; column < shape[3]; column++) {
                    float sum = b ? b->data[o] : 0.0f;
                    for (size_t c = 0; c < w->shape[1]; c++)
                        for (size_t i = 0; i < w->shape[2]; i++)
                            for (size_t j = 0; j < w->shape[3]; j++) {
                                long r = (long)row * stride[0] - pad[0] + (long)i * dilation[0];
                                long s = (long)column * stride[1] - pad[1] + (long)j * dilation[1];
                                if (r < 0 || s < 0 || r >= (long)x->shape[2] || s >= (long)x->shape[3]) continue;
                                size_t channel = o / per_group * w->shape[1] + c;
                                sum += x->data[((n * x->shape[1] + channel) * x->shape[2] + (size_t)r) * x->shape[3] + (size_t)s]
                                     * w->data[((o * w->shape[1] + c) * w->shape[2] + i) * w->shape[3] + j];
                            }
                    *y++ = sum;
                }
    return 1;
}

static int ddim(const char *json, const Arrays *in, Array *out) {      /* on Gaussian data, whose perfect model is known */
    const char *process = find(json, "process"), *model = find(json, "model");
    double times[1024], *abar, start = number(process, "beta_start"), end = number(process, "beta_end");
    double mean = number(model, "mean"), std = number(model, "std");
    int steps = numbers(json, "times", times, 1024), T = (int)number(process, "num_train_timesteps");
    if (!is(process, "beta_schedule", "linear") || !strncmp(find(process, "rescale_betas_zero_snr"), "true", 4))
        return skip("another schedule than linear");
    if (!is(model, "kind", "gaussian")) return skip("another model than gaussian");
    if (number(json, "eta") != 0.0) return skip("eta");
    if (!strncmp(find(json, "clip_denoised"), "true", 4)) return skip("clipping");
    if (!strncmp(find(json, "states"), "true", 4)) return skip("states on the way");
    for (int i = 0; i < steps; i++)
        if (times[i] != floor(times[i])) return skip("times between the integers");
    abar = malloc((size_t)T * sizeof *abar);
    for (int t = 0; t < T; t++) {
        double beta = T > 1 ? start + (end - start) * t / (T - 1) : start;
        abar[t] = (t ? abar[t - 1] : 1.0) * (1.0 - beta);
    }
    int to_the_data = !strncmp(find(json, "set_alpha_to_one"), "true", 4);
    const Array *x = input(in, "x");
    make(out, x->dims, x->shape);
    memcpy(out->data, x->data, x->size * sizeof(float));
    for (int k = 0; k < steps; k++) {
        double from = abar[(int)times[k]], to = k + 1 < steps ? abar[(int)times[k + 1]] : to_the_data ? 1.0 : abar[0];
        float a = (float)sqrt(from), s = (float)sqrt(1.0 - from), a_to = (float)sqrt(to), s_to = (float)sqrt(1.0 - to);
        float gain = (float)(sqrt(from) * std * std / (from * std * std + 1.0 - from));
        for (size_t i = 0; i < x->size; i++) {
            float x_0 = (float)mean + gain * (out->data[i] - a * (float)mean);      /* the model's prediction */
            float eps = (out->data[i] - a * x_0) / s;
            out->data[i] = a_to * x_0 + s_to * eps;                                 /* Song et al. 2021, Eq. 12 */
        }
    }
    free(abar);
    return 1;
}

static const struct { const char *name; int (*answer)(const char *, const Arrays *, Array *); } OPERATIONS[] = {
    {"conv2d", conv2d}, {"ddim", ddim}, {"group_norm", group_norm}, {"linear", linear}, {"silu", silu},
};
enum { COUNT = sizeof OPERATIONS / sizeof *OPERATIONS };

/* -- one request, one answer ------------------------------------------------------------------------------------------ */

static void joined(char *out, const char *folder, const char *path) {
    if (*folder && *path != '/') snprintf(out, MAX_PATH, "%s/%s", folder, path);
    else snprintf(out, MAX_PATH, "%s", path);
}

static void answer(const char *line, const char *folder, FILE *to) {
    static Arrays inputs;
    char name[160], id[256], told[MAX_PATH / 2], in[MAX_PATH], out[MAX_PATH];
    Array result = {0};
    text(line, "case", id, sizeof id);
    fprintf(to, "{\"seq\":%.0f,\"case\":\"%s\",", find(line, "seq") ? number(line, "seq") : 0.0, id);
    text(line, "inputs", told, sizeof told);
    joined(in, folder, told);
    text(line, "outputs", told, sizeof told);
    joined(out, folder, told);
    text(line, "operation", name, sizeof name);
    int known = 0;
    while (known < COUNT && strcmp(OPERATIONS[known].name, name)) known++;
    skipped = "not in this example";
    if (known == COUNT) fprintf(to, "\"status\":\"skipped\",\"reason\":\"%s\"}\n", skipped);
    else if (!read_arrays(in, &inputs)) fprintf(to, "\"status\":\"error\",\"context\":\"cannot read the inputs\"}\n");
    else if (!OPERATIONS[known].answer(line, &inputs, &result)) fprintf(to, "\"status\":\"skipped\",\"reason\":\"%s\"}\n", skipped);
    else if (!write_array(out, "output", &result)) fprintf(to, "\"status\":\"error\",\"context\":\"cannot write the output\"}\n");
    else fprintf(to, "\"status\":\"done\"}\n");
    fflush(to);
    free(result.data);
    release(&inputs);
}

int main(int count, char **words) {
    static char line[1 << 20], path[MAX_PATH];
    const char *folder = count > 1 ? words[1] : "";
    FILE *from = stdin, *to = stdout;
    if (*folder) {
        joined(path, folder, "tasks.jsonl"), from = fopen(path, "r");
        joined(path, folder, "answers.jsonl"), to = fopen(path, "w");
        if (!from || !to) return fprintf(stderr, "%s: no folder of tasks\n", folder), 1;
    }
    while (fgets(line, sizeof line, from)) {
        if (is(line, "cmd", "stop")) break;
        if (is(line, "cmd", "start")) {
            printf("{\"version\":1,\"implementation\":{\"name\":\"the example in C\",\"language\":\"C99\"}}\n");
            fflush(stdout);
        } else answer(line, folder, to);
    }
    return 0;
}
