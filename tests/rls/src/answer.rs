//! The gRPC method: reads a question, has it counted, and writes the answer, or a wrong one.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use envoy_types::pb::envoy::config::core::v3::HeaderValue;
use envoy_types::pb::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_response::{
    Code, DescriptorStatus, RateLimit,
};
use envoy_types::pb::envoy::service::ratelimit::v3::{RateLimitRequest, RateLimitResponse};
use envoy_types::pb::google::protobuf::Duration as Span;
use prost::Message;
use tonic::body::Body;
use tonic::server::{Grpc, NamedService};
use tonic::{Request, Response, Status};
use tower::Service;

use crate::control::{Behaviour, Control, Descriptor, Question};
use crate::doors::Line;
use crate::engine::{Asked, Engine, Level, Unit, Verdict, Volume};
use crate::wire::Wire;

const METHOD: &str = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit";

/// The service.
#[derive(Clone)]
pub struct Answerer {
    pub engine: Arc<Engine>,
    pub control: Arc<Control>,
}

impl NamedService for Answerer {
    const NAME: &'static str = "envoy.service.ratelimit.v3.RateLimitService";
}

impl Service<http::Request<Body>> for Answerer {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<http::Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let own = self.clone();
        Box::pin(async move {
            if request.uri().path() != METHOD {
                return Ok(Status::unimplemented("there is one method").into_http());
            }
            let is_page = own.control.behaviour() == Behaviour::Http;
            let method = tower::service_fn(|question| own.clone().answer(question));
            let mut answer = Grpc::new(Wire).unary(method, request).await;
            if is_page {
                answer = http::Response::new(Body::empty());
                *answer.status_mut() = http::StatusCode::SERVICE_UNAVAILABLE;
            }
            Ok(answer)
        })
    }
}

impl Answerer {
    async fn answer(self, request: Request<RateLimitRequest>) -> Result<Response<Bytes>, Status> {
        let line = request.extensions().get::<Arc<Line>>().cloned();
        let question = request.into_inner();
        self.control.tell(|told| told.questions += 1);
        self.control.keep(kept(&question));
        let behaviour = self.control.behaviour();
        match behaviour {
            Behaviour::Status(code) => {
                self.control.tell(|told| told.faults += 1);
                return Err(Status::new(code.into(), "as the test wants it"));
            }
            Behaviour::Unlimited => {
                let statuses = question.descriptors.iter().map(|_| status(None)).collect();
                let code = Code::Ok.into();
                let answer =
                    RateLimitResponse { overall_code: code, statuses, ..Default::default() };
                return Ok(Response::new(answer.encode_to_vec().into()));
            }
            Behaviour::Silent => return std::future::pending().await,
            Behaviour::ResetEarly => return reset(line).await,
            _ => {}
        }
        // Whoever asked may hang up; what has begun to be counted is finished all the same.
        let own = self.clone();
        let counted = tokio::spawn(async move { own.count(&question).await })
            .await
            .map_err(|fault| Status::internal(fault.to_string()))?;
        let right = counted.inspect_err(|_| self.control.tell(|told| told.faults += 1))?;
        match behaviour {
            Behaviour::Reset => return reset(line).await,
            Behaviour::Slow(milliseconds) => {
                tokio::time::sleep(Duration::from_millis(milliseconds)).await;
            }
            _ => {}
        }
        Ok(Response::new(written(right, behaviour)))
    }

    async fn count(&self, question: &RateLimitRequest) -> Result<RateLimitResponse, Status> {
        let hits = u64::from(question.hits_addend.max(1));
        let asked: Vec<Asked> = question
            .descriptors
            .iter()
            .map(|descriptor| read(descriptor, hits))
            .collect::<Result<_, _>>()?;
        let verdict = self
            .engine
            .ask(&question.domain, &asked, hits, SystemTime::now())
            .await
            .map_err(|fault| Status::unavailable(fault.to_string()))?;
        let is_over = verdict.is_over();
        self.control.tell(|told| match is_over {
            true => told.over += 1,
            false => {
                told.ok += 1;
                for each in &asked {
                    *told.granted.entry(each.key()).or_default() += each.weight;
                }
            }
        });
        let code = |is_over: bool| i32::from(if is_over { Code::OverLimit } else { Code::Ok });
        let mut answer =
            RateLimitResponse { overall_code: code(is_over), ..RateLimitResponse::default() };
        match verdict {
            Verdict::Each(levels) => answer.statuses = levels.into_iter().map(status).collect(),
            Verdict::Whole { headers, .. } => {
                answer.response_headers_to_add = headers
                    .into_iter()
                    .map(|(key, value)| HeaderValue { key, value, ..HeaderValue::default() })
                    .collect();
            }
        }
        Ok(answer)
    }
}

async fn reset<T>(line: Option<Arc<Line>>) -> Result<T, Status> {
    match line {
        Some(line) => line.cut(),
        None => return Err(Status::internal("a connection that cannot be cut")),
    }
    std::future::pending().await
}

fn read(descriptor: &RateLimitDescriptor, hits: u64) -> Result<Asked, Status> {
    if descriptor.is_negative_hits {
        return Err(Status::unimplemented("nothing is given back"));
    }
    let volume = match &descriptor.limit {
        None => None,
        Some(limit) => Some(Volume {
            max: limit.requests_per_unit,
            unit: Unit::numbered(limit.unit)
                .ok_or_else(|| Status::invalid_argument("no such unit"))?,
        }),
    };
    let entries = descriptor.entries.iter().map(|entry| (entry.key.clone(), entry.value.clone()));
    let weight = descriptor.hits_addend.map_or(hits, |own| own.value);
    Ok(Asked { entries: entries.collect(), volume, weight })
}

fn kept(question: &RateLimitRequest) -> Question {
    let descriptor = |each: &RateLimitDescriptor| Descriptor {
        entries: each.entries.iter().map(|own| (own.key.clone(), own.value.clone())).collect(),
        limit: each.limit.as_ref().map(|limit| (limit.requests_per_unit, limit.unit)),
        hits_addend: each.hits_addend.map(|own| own.value),
        is_negative_hits: each.is_negative_hits,
    };
    Question {
        domain: question.domain.clone(),
        hits_addend: question.hits_addend,
        descriptors: question.descriptors.iter().map(descriptor).collect(),
    }
}

fn status(level: Option<Level>) -> DescriptorStatus {
    let Some(level) = level else {
        return DescriptorStatus { code: Code::Ok.into(), ..DescriptorStatus::default() };
    };
    DescriptorStatus {
        code: (if level.is_over { Code::OverLimit } else { Code::Ok }).into(),
        current_limit: Some(RateLimit {
            name: String::new(),
            requests_per_unit: level.volume.max,
            unit: level.volume.unit as i32,
        }),
        limit_remaining: u32::try_from(level.remaining).unwrap_or(u32::MAX),
        duration_until_reset: Some(Span {
            seconds: i64::try_from(level.reset.as_secs()).unwrap_or(i64::MAX),
            nanos: 0,
        }),
        ..DescriptorStatus::default()
    }
}

/// The bytes of the answer, wrong if they should be.
fn written(mut right: RateLimitResponse, behaviour: Behaviour) -> Bytes {
    match behaviour {
        Behaviour::Garbage => return Bytes::from_static(b"\xff\xff\xff\xff not a message"),
        Behaviour::Empty => return Bytes::new(),
        Behaviour::CutShort => {
            let whole = Bytes::from(right.encode_to_vec());
            // Within the last field, which has a length.
            return whole.slice(..whole.len().saturating_sub(1));
        }
        Behaviour::Code(code) => right.overall_code = code,
        Behaviour::Fewer => {
            right.statuses.pop();
        }
        Behaviour::Contradiction => {
            right.overall_code = Code::Ok.into();
            for status in &mut right.statuses {
                status.code = Code::OverLimit.into();
            }
        }
        Behaviour::Huge => right.raw_body = vec![b'x'; 1 << 20],
        Behaviour::Right
        | Behaviour::Slow(_)
        | Behaviour::Silent
        | Behaviour::Http
        | Behaviour::Unlimited
        | Behaviour::Status(_)
        | Behaviour::Reset
        | Behaviour::ResetEarly => {}
    }
    right.encode_to_vec().into()
}

#[cfg(test)]
mod tests {
    use envoy_types::pb::envoy::extensions::common::ratelimit::v3::rate_limit_descriptor::RateLimitOverride;
    use envoy_types::pb::google::protobuf::UInt64Value;

    use super::*;

    #[test]
    fn a_descriptors_own_weight_counts() {
        let limit = Some(RateLimitOverride { requests_per_unit: 7, unit: 3 });
        let mut descriptor = RateLimitDescriptor { limit, ..RateLimitDescriptor::default() };
        let asked = read(&descriptor, 5).unwrap();
        assert_eq!(asked.volume, Some(Volume { max: 7, unit: Unit::Hour }));
        assert_eq!(asked.weight, 5);
        descriptor.hits_addend = Some(UInt64Value { value: 0 });
        assert_eq!(read(&descriptor, 5).unwrap().weight, 0);
        descriptor.limit = Some(RateLimitOverride { requests_per_unit: 7, unit: 0 });
        assert!(read(&descriptor, 5).is_err());
        descriptor =
            RateLimitDescriptor { is_negative_hits: true, ..RateLimitDescriptor::default() };
        assert!(read(&descriptor, 5).is_err());
    }

    #[test]
    fn wrong_answers_are_wrong_in_one_way_each() {
        let volume = Volume { max: 9, unit: Unit::Minute };
        let level = Level { is_over: false, volume, remaining: 4, reset: Duration::from_secs(8) };
        let right = RateLimitResponse {
            overall_code: Code::Ok.into(),
            statuses: vec![status(Some(level)), status(None)],
            ..RateLimitResponse::default()
        };
        let read = |behaviour| RateLimitResponse::decode(written(right.clone(), behaviour));
        assert_eq!(read(Behaviour::Right).as_ref(), Ok(&right));
        assert!(read(Behaviour::Garbage).is_err());
        assert!(read(Behaviour::CutShort).is_err());
        assert_eq!(read(Behaviour::Empty), Ok(RateLimitResponse::default()));
        assert_eq!(read(Behaviour::Code(9)).unwrap().overall_code, 9);
        assert_eq!(read(Behaviour::Fewer).unwrap().statuses.len(), 1);
        let contrary = read(Behaviour::Contradiction).unwrap();
        assert_eq!((contrary.overall_code, contrary.statuses[0].code), (1, 2));
        assert!(read(Behaviour::Huge).unwrap().encoded_len() > 1 << 20);
    }
}
