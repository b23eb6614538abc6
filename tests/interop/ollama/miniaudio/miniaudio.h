/* No sound: every decoder refuses.
 *
 * The Go module of ollama comes without the C++ headers it keeps in directories named `vendor`. Two of them
 * are Debian packages; this stands in for the third, so that tests/run can build a client that moves models
 * (it will never be asked to listen to one).
 */
typedef int ma_result;
typedef unsigned long long ma_uint64;
typedef struct { int unused; } ma_decoder_config;
typedef struct { int unused; } ma_decoder;
enum { MA_SUCCESS = 0, ma_format_f32 = 0 };
static ma_decoder_config ma_decoder_config_init(int, int, int) { return ma_decoder_config(); }
static ma_result ma_decoder_init_memory(const void *, unsigned long, ma_decoder_config *, ma_decoder *) { return -1; }
static ma_result ma_decoder_get_length_in_pcm_frames(ma_decoder *, ma_uint64 *) { return -1; }
static ma_result ma_decoder_read_pcm_frames(ma_decoder *, void *, ma_uint64, ma_uint64 *) { return -1; }
static void ma_decoder_uninit(ma_decoder *) {}
