//! gRPC whose answers are bytes, so that wrong ones can be sent too.

use bytes::{Buf, BufMut, Bytes};
use envoy_types::pb::envoy::service::ratelimit::v3::RateLimitRequest;
use prost::Message;
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

/// Reads questions, writes bytes.
#[derive(Clone, Copy, Default)]
pub struct Wire;

impl Codec for Wire {
    type Encode = Bytes;
    type Decode = RateLimitRequest;
    type Encoder = Wire;
    type Decoder = Wire;

    fn encoder(&mut self) -> Wire {
        Wire
    }

    fn decoder(&mut self) -> Wire {
        Wire
    }
}

impl Encoder for Wire {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        into.put(item);
        Ok(())
    }
}

impl Decoder for Wire {
    type Item = RateLimitRequest;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<RateLimitRequest>, Status> {
        let bytes = from.copy_to_bytes(from.remaining());
        RateLimitRequest::decode(bytes)
            .map(Some)
            .map_err(|fault| Status::invalid_argument(fault.to_string()))
    }
}
