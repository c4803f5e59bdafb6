//! The service: what S3's operations do to the objects. Preconditions of writes are ignored without a word, as by some engines: nothing may rest on them.

use std::{sync::Arc, time::SystemTime};

use bytes::Bytes;
use futures_util::TryStreamExt;
use s3s::{
    S3, S3Request, S3Response, S3Result, auth::Credentials, dto::*, region::Region, s3_error,
};

use super::{
    READER, REGION,
    objects::{Listed, Object, Objects},
};

pub(super) struct Service(pub(super) Arc<Objects>);

/// Refuses who signed for another region, as S3 does.
fn at_home(region: Option<&Region>) -> S3Result<()> {
    match region {
        Some(region) if region.as_str() != REGION => Err(s3_error!(
            AuthorizationHeaderMalformed,
            "The authorization header is malformed; the region '{}' is wrong; expecting '{}'",
            region.as_str(),
            REGION
        )),
        Some(_) | None => Ok(()),
    }
}

/// The same, and who may only read.
fn may_write<T>(request: &S3Request<T>) -> S3Result<()> {
    at_home(request.region.as_ref())?;
    let id = |credentials: &Credentials| credentials.access_key == READER.id;
    match request.credentials.as_ref().is_some_and(id) {
        true => Err(s3_error!(AccessDenied, "Access Denied")),
        false => Ok(()),
    }
}

/// All of a request's body; an error when its signature doesn't hold or it breaks off.
async fn whole(body: Option<StreamingBlob>) -> S3Result<Bytes> {
    let Some(body) = body else {
        return Ok(Bytes::new());
    };
    let pieces = body.try_collect::<Vec<_>>().await;
    match pieces {
        Ok(pieces) => Ok(pieces.concat().into()),
        Err(e) => Err(s3_error!(IncompleteBody, "{e}")),
    }
}

fn tag(object: &Object) -> Option<ETag> {
    Some(ETag::Strong(object.etag.clone()))
}

fn length(bytes: usize) -> Option<i64> {
    i64::try_from(bytes).ok()
}

impl Service {
    fn find(&self, bucket: &str, key: &str) -> S3Result<Object> {
        self.require(bucket)?;
        let found = self.0.get(bucket, key);
        found.ok_or_else(|| s3_error!(NoSuchKey, "The specified key does not exist."))
    }

    fn require(&self, bucket: &str) -> S3Result<()> {
        match self.0.has_bucket(bucket) {
            true => Ok(()),
            false => Err(s3_error!(
                NoSuchBucket,
                "The specified bucket does not exist"
            )),
        }
    }
}

#[async_trait::async_trait]
impl S3 for Service {
    async fn create_bucket(
        &self,
        request: S3Request<CreateBucketInput>,
    ) -> S3Result<S3Response<CreateBucketOutput>> {
        may_write(&request)?;
        self.0.make_bucket(&request.input.bucket);
        Ok(S3Response::new(CreateBucketOutput::default()))
    }

    async fn head_bucket(
        &self,
        request: S3Request<HeadBucketInput>,
    ) -> S3Result<S3Response<HeadBucketOutput>> {
        at_home(request.region.as_ref())?;
        self.require(&request.input.bucket)?;
        Ok(S3Response::new(HeadBucketOutput::default()))
    }

    async fn get_object(
        &self,
        request: S3Request<GetObjectInput>,
    ) -> S3Result<S3Response<GetObjectOutput>> {
        at_home(request.region.as_ref())?;
        let input = request.input;
        let object = self.find(&input.bucket, &input.key)?;
        let all = object.bytes.len();
        let (bytes, range) = match &input.range {
            None => (object.bytes.clone(), None),
            Some(range) => {
                let range = range.check(all as u64)?;
                let said = format!("bytes {}-{}/{all}", range.start, range.end - 1);
                let part = range.start as usize..range.end as usize;
                (object.bytes.slice(part), Some(said))
            }
        };
        Ok(S3Response::new(GetObjectOutput {
            content_length: length(bytes.len()),
            content_range: range,
            e_tag: tag(&object),
            last_modified: Some(object.modified.into()),
            body: Some(StreamingBlob::from(s3s::Body::from(bytes))),
            ..Default::default()
        }))
    }

    async fn head_object(
        &self,
        request: S3Request<HeadObjectInput>,
    ) -> S3Result<S3Response<HeadObjectOutput>> {
        at_home(request.region.as_ref())?;
        let object = self.find(&request.input.bucket, &request.input.key)?;
        Ok(S3Response::new(HeadObjectOutput {
            content_length: length(object.bytes.len()),
            e_tag: tag(&object),
            last_modified: Some(object.modified.into()),
            ..Default::default()
        }))
    }

    async fn put_object(
        &self,
        request: S3Request<PutObjectInput>,
    ) -> S3Result<S3Response<PutObjectOutput>> {
        may_write(&request)?;
        let input = request.input;
        self.require(&input.bucket)?;
        let object = Object::new(whole(input.body).await?);
        let e_tag = tag(&object);
        self.0.put(&input.bucket, &input.key, object);
        Ok(S3Response::new(PutObjectOutput {
            e_tag,
            ..Default::default()
        }))
    }

    async fn delete_object(
        &self,
        request: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        may_write(&request)?;
        self.0.remove(&request.input.bucket, &request.input.key);
        Ok(S3Response::new(DeleteObjectOutput::default()))
    }

    async fn delete_objects(
        &self,
        request: S3Request<DeleteObjectsInput>,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        may_write(&request)?;
        let DeleteObjectsInput { bucket, delete, .. } = request.input;
        let deleted = delete.objects.into_iter().map(|object| {
            self.0.remove(&bucket, &object.key);
            DeletedObject {
                key: Some(object.key),
                ..Default::default()
            }
        });
        Ok(S3Response::new(DeleteObjectsOutput {
            deleted: Some(deleted.collect()),
            ..Default::default()
        }))
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        at_home(request.region.as_ref())?;
        let input = request.input;
        self.require(&input.bucket)?;
        let prefix = input.prefix.clone().unwrap_or_default();
        let after = input.continuation_token.as_deref();
        let after = after.or(input.start_after.as_deref()).unwrap_or_default();
        let most = usize::try_from(input.max_keys.unwrap_or(1000)).unwrap_or(0);
        let delimiter = input.delimiter.as_deref();
        let listed = self.0.list(&input.bucket, &prefix, delimiter, after, most);
        let (listed, more) = listed.unwrap_or_default();
        let last = listed.last().map(|last| last.name().to_owned());
        let (mut contents, mut prefixes) = (Vec::new(), Vec::new());
        for entry in listed {
            match entry {
                Listed::Object(key, object) => contents.push(s3s::dto::Object {
                    e_tag: tag(&object),
                    size: length(object.bytes.len()),
                    last_modified: Some(object.modified.into()),
                    key: Some(key),
                    ..Default::default()
                }),
                Listed::Prefix(prefix) => prefixes.push(CommonPrefix {
                    prefix: Some(prefix),
                }),
            }
        }
        Ok(S3Response::new(ListObjectsV2Output {
            key_count: i32::try_from(contents.len() + prefixes.len()).ok(),
            is_truncated: Some(more),
            next_continuation_token: last.filter(|_| more),
            contents: Some(contents),
            common_prefixes: Some(prefixes),
            name: Some(input.bucket),
            prefix: input.prefix,
            delimiter: input.delimiter,
            ..Default::default()
        }))
    }

    async fn create_multipart_upload(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        may_write(&request)?;
        let input = request.input;
        self.require(&input.bucket)?;
        let upload = self.0.begin_upload(&input.bucket, &input.key);
        Ok(S3Response::new(CreateMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(upload),
            ..Default::default()
        }))
    }

    async fn upload_part(
        &self,
        request: S3Request<UploadPartInput>,
    ) -> S3Result<S3Response<UploadPartOutput>> {
        may_write(&request)?;
        let input = request.input;
        let bytes = whole(input.body).await?;
        let e_tag = tag(&Object::new(bytes.clone()));
        let added = self.0.add_part(&input.upload_id, input.part_number, bytes);
        added.ok_or_else(|| s3_error!(NoSuchUpload))?;
        Ok(S3Response::new(UploadPartOutput {
            e_tag,
            ..Default::default()
        }))
    }

    async fn complete_multipart_upload(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        may_write(&request)?;
        let input = request.input;
        let parts = input.multipart_upload.and_then(|upload| upload.parts);
        let numbers = parts.into_iter().flatten();
        let numbers: Vec<_> = numbers.filter_map(|part| part.part_number).collect();
        let object = self.0.complete(&input.upload_id, &numbers);
        let object = object.ok_or_else(|| s3_error!(NoSuchUpload))?;
        Ok(S3Response::new(CompleteMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            e_tag: tag(&object),
            ..Default::default()
        }))
    }

    async fn abort_multipart_upload(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        may_write(&request)?;
        self.0.abort(&request.input.upload_id);
        Ok(S3Response::new(AbortMultipartUploadOutput::default()))
    }
}
