//! A synthetic H.264 access unit, packetised once (RFC 6184) and sent many times.
//!
//! Parameter sets and slice headers are real, so that `rtph264depay ! h264parse` accepts the
//! stream; the slice data behind the header is filler that no parser reads.

/// Largest RTP packet, header included.
pub const MAX_PACKET: usize = 1400;
const RTP_HEADER: usize = 12;
const FU_HEADER: usize = 2;
/// Filler that can contain neither a start code nor an emulation prevention byte.
const FILLER: u8 = 0x5a;

const NAL_SLICE: u8 = 0x61;
const NAL_IDR: u8 = 0x65;
const NAL_SPS: u8 = 0x67;
const NAL_PPS: u8 = 0x68;
const FU_A: u8 = 28;

/// An RTP packet inside [`AccessUnit::bytes`], after its 4 bytes of interleaved header.
#[derive(Clone, Copy)]
pub struct Slot {
    pub start: usize,
    pub end: usize,
}

/// The packets of one access unit, each behind room for its interleaved header.
pub struct AccessUnit {
    pub bytes: Vec<u8>,
    pub slots: Vec<Slot>,
}

impl AccessUnit {
    /// A key frame of about `size` bytes, RTP headers included.
    pub fn key(payload_type: u8, size: usize) -> Self {
        let mut unit = Self::empty();
        unit.single(payload_type, &sps());
        unit.single(payload_type, &pps());
        let rest = size.saturating_sub(unit.media_bytes());
        unit.fragmented(payload_type, &slice(true), rest);
        unit
    }

    /// A predicted frame of about `size` bytes, RTP headers included.
    pub fn predicted(payload_type: u8, size: usize) -> Self {
        let mut unit = Self::empty();
        unit.fragmented(payload_type, &slice(false), size);
        unit
    }

    /// One packet with `payload`, as audio has it.
    pub fn packet(payload_type: u8, payload: &[u8]) -> Self {
        let mut unit = Self::empty();
        unit.single(payload_type, payload);
        unit
    }

    /// Bytes of RTP, without the interleaved headers.
    pub fn media_bytes(&self) -> usize {
        self.slots.iter().map(|s| s.end - s.start).sum()
    }

    fn empty() -> Self {
        Self {
            bytes: Vec::new(),
            slots: Vec::new(),
        }
    }

    fn single(&mut self, payload_type: u8, payload: &[u8]) {
        self.begin(payload_type, payload.len());
        self.bytes.extend_from_slice(payload);
        self.end();
    }

    /// One NAL unit: `head` and then filler, as FU-A packets (RFC 6184 §5.8). The last has the marker.
    fn fragmented(&mut self, payload_type: u8, head: &[u8], size: usize) {
        let room = MAX_PACKET - RTP_HEADER - FU_HEADER;
        let packets = size.div_ceil(MAX_PACKET).max(2);
        let total = size
            .saturating_sub(packets * (RTP_HEADER + FU_HEADER))
            .max(4 * packets);
        let nal = head[0];
        let mut body = head[1..].to_vec();
        body.resize(total.max(head.len()), FILLER);
        let mut fragments = body
            .chunks(body.len().div_ceil(packets).min(room))
            .peekable();
        let mut start = 0x80;
        while let Some(fragment) = fragments.next() {
            let last = fragments.peek().is_none();
            self.begin(
                payload_type | if last { 0x80 } else { 0 },
                FU_HEADER + fragment.len(),
            );
            self.bytes.push((nal & 0xe0) | FU_A);
            self.bytes
                .push(start | if last { 0x40 } else { 0 } | (nal & 0x1f));
            self.bytes.extend_from_slice(fragment);
            self.end();
            start = 0;
        }
    }

    fn begin(&mut self, marker_and_type: u8, payload: usize) {
        let length = u16::try_from(RTP_HEADER + payload).expect("a packet is small");
        self.bytes.extend_from_slice(&[b'$', 0]);
        self.bytes.extend_from_slice(&length.to_be_bytes());
        let start = self.bytes.len();
        self.slots.push(Slot { start, end: start });
        self.bytes.extend_from_slice(&[0x80, marker_and_type]);
        self.bytes.extend_from_slice(&[0; 10]);
    }

    fn end(&mut self) {
        if let Some(slot) = self.slots.last_mut() {
            slot.end = self.bytes.len();
        }
    }
}

/// `sprop-parameter-sets` without the base64: SPS and PPS.
pub fn parameter_sets() -> (Vec<u8>, Vec<u8>) {
    (sps(), pps())
}

fn sps() -> Vec<u8> {
    let mut w = BitWriter::new(&[NAL_SPS, 66, 0xc0, 51]); // constrained baseline, level 5.1
    w.ue(0); // seq_parameter_set_id
    w.ue(0); // log2_max_frame_num_minus4
    w.ue(2); // pic_order_cnt_type: output order is decoding order
    w.ue(1); // max_num_ref_frames
    w.bits(0, 1); // gaps_in_frame_num_value_allowed_flag
    w.ue(119); // pic_width_in_mbs_minus1: 1920
    w.ue(66); // pic_height_in_map_units_minus1: 1072
    w.bits(1, 1); // frame_mbs_only_flag
    w.bits(1, 1); // direct_8x8_inference_flag
    w.bits(0, 1); // frame_cropping_flag
    w.bits(0, 1); // vui_parameters_present_flag
    w.finish()
}

fn pps() -> Vec<u8> {
    let mut w = BitWriter::new(&[NAL_PPS]);
    w.ue(0); // pic_parameter_set_id
    w.ue(0); // seq_parameter_set_id
    w.bits(0, 2); // entropy_coding_mode_flag, bottom_field_pic_order_in_frame_present_flag
    w.ue(0); // num_slice_groups_minus1
    w.ue(0); // num_ref_idx_l0_default_active_minus1
    w.ue(0); // num_ref_idx_l1_default_active_minus1
    w.bits(0, 3); // weighted_pred_flag, weighted_bipred_idc
    w.ue(0); // pic_init_qp_minus26
    w.ue(0); // pic_init_qs_minus26
    w.ue(0); // chroma_qp_index_offset
    w.bits(0, 3); // deblocking control, constrained intra prediction, redundant pictures
    w.finish()
}

/// NAL unit header and slice header (ITU-T H.264 §7.3.3).
fn slice(key: bool) -> Vec<u8> {
    let mut w = BitWriter::new(&[if key { NAL_IDR } else { NAL_SLICE }]);
    w.ue(0); // first_mb_in_slice
    w.ue(if key { 7 } else { 5 }); // slice_type: all I, all P
    w.ue(0); // pic_parameter_set_id
    w.bits(u32::from(!key), 4); // frame_num
    if key {
        w.ue(0); // idr_pic_id
        w.bits(0, 2); // no_output_of_prior_pics_flag, long_term_reference_flag
    } else {
        w.bits(0, 3); // num_ref_idx_active_override, ref_pic_list_modification, adaptive marking
    }
    w.ue(0); // slice_qp_delta
    w.finish()
}

struct BitWriter {
    bytes: Vec<u8>,
    used: u32,
}

impl BitWriter {
    fn new(head: &[u8]) -> Self {
        Self {
            bytes: head.to_vec(),
            used: 8,
        }
    }

    fn bits(&mut self, value: u32, count: u32) {
        for i in (0..count).rev() {
            if self.used == 8 {
                self.bytes.push(0);
                self.used = 0;
            }
            if let Some(last) = self.bytes.last_mut() {
                *last |= (((value >> i) & 1) as u8) << (7 - self.used);
            }
            self.used += 1;
        }
    }

    /// Exp-Golomb code (ITU-T H.264 §9.1).
    fn ue(&mut self, value: u32) {
        let length = 32 - (value + 1).leading_zeros();
        self.bits(0, length - 1);
        self.bits(value + 1, length);
    }

    fn finish(mut self) -> Vec<u8> {
        self.bits(1, 1); // rbsp_stop_one_bit
        self.bytes
    }
}
