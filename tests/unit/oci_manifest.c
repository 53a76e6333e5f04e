/* SPDX-License-Identifier: MIT
 *
 * Image indexes, manifests and configs.
 */
#include "tests/tap.h"

#include "base/buf.h"
#include "base/err.h"
#include "base/fd.h"
#include "oci/json.h"
#include "oci/manifest.h"

#define HEX "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define DIGEST "sha256:" HEX
#define OCI "application/vnd.oci.image."
#define DESC(type, size)                                                       \
	"{\"mediaType\":\"" type "\",\"digest\":\"" DIGEST "\",\"size\":" size \
	"}"
#define CONFIG DESC(OCI "config.v1+json", "10")
#define MANIFEST(config, layers) \
	"{\"schemaVersion\":2,\"config\":" config ",\"layers\":[" layers "]}"

static int parse(const char *json, struct err *e)
{
	manifest_auto struct manifest m = MANIFEST_INIT;

	return manifest_parse(&m, str_of(json), e);
}

static void refuses(const char *json, const char *text, const char *what)
{
	struct err e = ERR_INIT;

	if (ok(parse(json, &e) < 0, "%s", what))
		has_str(e.text, text, "it says so");
}

static void types(void)
{
	ok(media_of(STR(OCI "layer.v1.tar+gzip")) == MEDIA_LAYER_GZIP &&
		   media_of(STR(OCI "layer.v1.tar+zstd")) == MEDIA_LAYER_ZSTD &&
		   media_of(STR(OCI "layer.v1.tar")) == MEDIA_LAYER,
	   "OCI layers");
	ok(media_of(STR("application/vnd.docker.image.rootfs.diff.tar.gzip")) ==
		   MEDIA_LAYER_GZIP,
	   "Docker's layers");
	ok(media_of(STR(OCI "manifest.v1+json; charset=utf-8")) ==
		   MEDIA_MANIFEST,
	   "parameters do not count");
	ok(media_of(STR(OCI "layer.nondistributable.v1.tar")) ==
			   MEDIA_FOREIGN &&
		   media_of(STR("application/vnd.docker.image.rootfs.foreign."
				"diff.tar.gzip")) == MEDIA_FOREIGN,
	   "foreign layers");
	ok(media_of(STR("")) == MEDIA_UNKNOWN &&
		   media_of((struct str){ NULL, 0 }) == MEDIA_UNKNOWN &&
		   media_of(STR(OCI "layer.v1.tar+gzip+encrypted")) ==
			   MEDIA_UNKNOWN,
	   "none of them");
}

static void manifests(void)
{
	manifest_auto struct manifest m = MANIFEST_INIT;
	struct err e = ERR_INIT;
	static const char json[] =
		MANIFEST(CONFIG, DESC(OCI "layer.v1.tar+gzip",
				      "5") "," DESC(OCI "layer.v1.tar", "7"));

	is_int(manifest_parse(&m, str_of(json), &e), 0, "a manifest");
	ok(m.nlayers == 2 && m.size == 12 && m.config.size == 10 &&
		   m.layers[1].size == 7 && m.layers[1].media == MEDIA_LAYER &&
		   !strcmp(m.layers[0].digest.text, DIGEST),
	   "what is in it");
	is_str(m.type, OCI "manifest.v1+json", "its type is implied");
	is_int(parse(MANIFEST(CONFIG, ""), &e), 0, "no layers are few enough");
}

static void bad_manifests(void)
{
	refuses("", "not JSON", "nothing");
	refuses("[]", "not a JSON object", "a list");
	refuses("{}", "neither", "an empty object");
	refuses("{\"schemaVersion\":1}", "schema 1", "schema 1");
	refuses("{\"layers\":[],\"manifests\":[]}", "two things", "two kinds");
	refuses("{\"layers\":[],\"layers\":[]}", "duplicate", "a key twice");
	refuses("{\"mediaType\":7,\"layers\":[]}", "not a string",
		"a number "
		"for a type");
	refuses(MANIFEST("7", ""), "not a descriptor", "no config");
	refuses(MANIFEST(DESC("application/x", "1"), ""), "artifact of type",
		"an artifact");
	refuses(MANIFEST(DESC(OCI "config.v1+json", "99999999"), ""),
		"more than", "a huge config");
	refuses(MANIFEST(CONFIG, DESC(OCI "layer.v1.tar", "-1")),
		"layer 1: size is -1", "a negative size");
	refuses(MANIFEST(CONFIG, DESC(OCI "layer.v1.tar", "1.5")),
		"not a whole number", "a fraction");
	refuses(MANIFEST(CONFIG,
			 DESC(OCI "layer.v1.tar", "9223372036854775807")),
		"size is 9223372036854775807", "an enormous size");
	refuses(MANIFEST(CONFIG,
			 DESC(OCI "layer.v1.tar", "92233720368547758070")),
		"not JSON", "a size that is no number of 64 bits");
	refuses(MANIFEST(CONFIG, DESC("text/plain", "1")),
		"'text/plain' is not a tar", "a layer that is none");
	refuses(MANIFEST(CONFIG,
			 DESC(OCI "layer.nondistributable.v1.tar", "1")),
		"foreign layer", "a foreign layer");
	refuses("{\"config\":" CONFIG ",\"layers\":{}}", "not a list",
		"layers that are no list");
	refuses("{\"a\":\"\\u0000\",\"layers\":[]}", "not JSON", "NUL in text");
}

static void bounds(void)
{
	buf_auto struct buf b = BUF_INIT;
	struct err e = ERR_INIT;
	int i;

	buf_puts(&b, "{\"config\":" CONFIG ",\"layers\":[");
	for (i = 0; i <= MANIFEST_LAYERS_MAX; i++)
		buf_printf(&b, "%s%s", i ? "," : "",
			   DESC(OCI "layer.v1.tar", "1"));
	buf_puts(&b, "]}");
	refuses(buf_str(&b), "513 layers", "a layer too many");
	buf_clear(&b);
	for (i = 0; i < 1000; i++)
		buf_puts(&b, "{\"a\":");
	refuses(buf_str(&b), "nested deeper", "deep");
	buf_clear(&b);
	buf_puts(&b, "{\"a\":[");
	for (i = 0; i < JSON_VALUES_MAX; i++)
		buf_puts(&b, "0,");
	buf_puts(&b, "0]}");
	is_int(parse(buf_str(&b), &e), -EBADMSG, "many values");
	has_str(e.text, "65536", "are counted");
}

#define ENTRY(digit, platform)                                              \
	"{\"mediaType\":\"" OCI "manifest.v1+json\",\"size\":1,\"digest\":" \
	"\"sha256:" digit "123456789abcdef0123456789abcdef0123456789abcdef" \
	"0123456789abcdef\"" platform "}"
#define PLATFORM(os, arch, variant)                                 \
	",\"platform\":{\"os\":\"" os "\",\"architecture\":\"" arch \
	"\"" variant "}"
#define INDEX(entries) "{\"schemaVersion\":2,\"manifests\":[" entries "]}"

/* The first digit of what is chosen, or 0. */
static char chosen(const char *json, const char *platform, struct err *e)
{
	struct platform p;
	struct desc d;

	if (platform_parse(&p, str_of(platform), e) < 0 ||
	    index_select(str_of(json), &p, &d, e) < 0)
		return '\0';
	return *digest_hex(&d.digest);
}

#define ARM64 ENTRY("1", PLATFORM("linux", "arm64", ",\"variant\":\"v8\""))
#define AMD64_V3 ENTRY("2", PLATFORM("linux", "amd64", ",\"variant\":\"v3\""))
#define AMD64 ENTRY("3", PLATFORM("linux", "amd64", ""))
#define UNKNOWN ENTRY("4", PLATFORM("unknown", "unknown", ""))
#define ARM ENTRY("5", PLATFORM("linux", "arm", ",\"variant\":\"v7\""))
#define COMMA ","

static void indexes(void)
{
	static const char many[] =
		INDEX(ARM64 COMMA AMD64_V3 COMMA AMD64 COMMA UNKNOWN COMMA ARM);
	struct err e = ERR_INIT;

	is_int(chosen(many, "linux/amd64", &e), '3', "the plain variant");
	is_int(chosen(many, "linux/amd64/v3", &e), '2', "a variant");
	is_int(chosen(many, "linux/arm64", &e), '1', "arm64 is v8");
	is_int(chosen(many, "linux/arm", &e), '5', "the only variant");
	is_int(chosen(many, "linux/arm/v6", &e), 0, "no such variant");
	is_int(chosen(many, "linux/s390x", &e), 0, "no such machine");
	is_str(e.text,
	       "no image for linux/s390x: there is linux/arm64/v8, "
	       "linux/amd64/v3, linux/amd64, linux/arm/v7",
	       "it says what there is");
	is_int(chosen(INDEX(ENTRY("7", "")), "linux/amd64", &e), '7',
	       "one without a platform");
	is_int(chosen(INDEX(ENTRY("7", "") "," ENTRY("8", "")), "linux/amd64",
		      &e),
	       0, "two without a platform");
	is_int(chosen(INDEX(""), "linux/amd64", &e), 0, "an empty one");
	is_int(chosen(INDEX("7"), "linux/amd64", &e), 0, "nonsense");
}

static void platforms(void)
{
	static const char *const bad[] = {
		"",	   "linux",	  "linux/",	 "/amd64",
		"a/b/c/d", "LINUX/amd64", "linux/amd 64"
	};
	struct platform p;
	size_t i;

	ok(platform_parse(&p, STR("linux/arm/v7"), NULL) == 0 &&
		   !strcmp(p.os, "linux") && !strcmp(p.arch, "arm") &&
		   !strcmp(p.variant, "v7"),
	   "a platform");
	for (i = 0; i < ARRAY_SIZE(bad); i++)
		is_int(platform_parse(&p, str_of(bad[i]), NULL), -EINVAL,
		       bad[i]);
}

static int config(const char *json, struct image_config *c, struct err *e)
{
	return image_config_parse(c, str_of(json), e);
}

#define ROOTFS "\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"" DIGEST "\"]}"

static void configs(void)
{
	image_config_auto struct image_config c = IMAGE_CONFIG_INIT,
					      none = IMAGE_CONFIG_INIT;
	struct err e = ERR_INIT;

	is_int(config("{\"os\":\"linux\",\"architecture\":\"amd64\","
		      "\"config\":{\"Env\":[\"A=b\"],\"Cmd\":null,"
		      "\"User\":\"u:g\",\"WorkingDir\":\"/w\","
		      "\"Labels\":{\"l\":\"v\"}}," ROOTFS "}",
		      &c, &e),
	       0, "a config");
	ok(json_array_size(c.env) == 1 && json_array_size(c.cmd) == 0 &&
		   json_object_size(c.labels) == 1 && !strcmp(c.user, "u:g") &&
		   !strcmp(c.workdir, "/w") && c.ndiff_ids == 1 &&
		   !strcmp(c.platform.arch, "amd64"),
	   "what is in it");
	is_int(config("{" ROOTFS "}", &none, &e), 0, "a bare one");
	ok(json_array_size(none.env) == 0 && !*none.user &&
		   json_object_size(none.labels) == 0,
	   "has empty members");
}

static void bad_config(const char *json, const char *text)
{
	image_config_auto struct image_config c = IMAGE_CONFIG_INIT;
	struct err e = ERR_INIT;

	if (ok(config(json, &c, &e) < 0, "refused: %s", text))
		has_str(e.text, text, "it says so");
}

static void bad_configs(void)
{
	bad_config("{}", "rootfs.type");
	bad_config("{\"config\":7," ROOTFS "}", "config is not an object");
	bad_config("{\"config\":{\"Env\":[1]}," ROOTFS "}",
		   "Env is not a list");
	bad_config("{\"config\":{\"Env\":{}}," ROOTFS "}", "Env is not a list");
	bad_config("{\"config\":{\"User\":1}," ROOTFS "}", "User is not");
	bad_config("{\"config\":{\"Labels\":[]}," ROOTFS "}", "Labels is not");
	bad_config("{\"config\":{\"Labels\":{\"a\":1}}," ROOTFS "}",
		   "label 'a'");
	bad_config("{\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[1]}}",
		   "diff_id of the image config");
	bad_config(
		"{\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"md5:1\"]}}",
		"'md5' is not sha256");
}

static void matching(void)
{
	struct desc layer = { .media = MEDIA_LAYER };
	struct digest ids[2] = { { DIGEST }, { DIGEST } };
	struct image_config c = { .diff_ids = ids, .ndiff_ids = 1 };
	struct manifest m = { .layers = &layer, .nlayers = 1 };
	struct err e = ERR_INIT;

	layer.digest = ids[0];
	is_int(image_config_match(&c, &m, &e), 0, "they match");
	c.ndiff_ids = 2;
	is_int(image_config_match(&c, &m, &e), -EBADMSG, "another count");
	c.ndiff_ids = 1;
	layer.digest.text[8] = 'f';
	is_int(image_config_match(&c, &m, &e), -EBADMSG,
	       "an uncompressed layer is its own diff_id");
	layer.media = MEDIA_LAYER_GZIP;
	is_int(image_config_match(&c, &m, &e), 0, "a packed one is not");
}

int main(void)
{
	types();
	manifests();
	bad_manifests();
	bounds();
	indexes();
	platforms();
	configs();
	bad_configs();
	matching();
	return tap_done();
}
