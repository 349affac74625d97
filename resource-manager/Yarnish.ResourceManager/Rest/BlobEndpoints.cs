using Microsoft.AspNetCore.Http.Features;
using Yarnish.Protocol;
using Yarnish.ResourceManager.Blobs;

namespace Yarnish.ResourceManager.Rest;

/// <summary><c>/api/v1/blobs</c>: drivers put the files of applications here, agents fetch them.</summary>
internal static class BlobEndpoints
{
    private const int MaximumQuestion = 10_000;

    /// <summary>Maps the addresses.</summary>
    public static void MapBlobs(this IEndpointRouteBuilder routes, BlobStore store, long maximumBlobBytes)
    {
        routes.MapGet("/blobs/{sha256}", (string sha256, HttpContext context) => SendAsync(store, RequireHash(sha256), context))
            .WithName("getBlob").WithSummary("The content of a blob.")
            .Produces<byte[]>(contentType: "application/octet-stream").Produces<ErrorInfo>(404);

        routes.MapMethods("/blobs/{sha256}", ["HEAD"], (string sha256, HttpContext context) =>
            {
                context.Response.ContentLength = store.Find(RequireHash(sha256)) ?? throw NotHere(sha256);
                return Results.Empty;
            })
            .WithName("hasBlob").WithSummary("Whether a blob is here, and its size.");

        routes.MapPut("/blobs/{sha256}", async (string sha256, HttpContext context) =>
            {
                RequireHash(sha256);
                context.Features.Get<IHttpMaxRequestBodySizeFeature>()!.MaxRequestBodySize = maximumBlobBytes;
                var answer = await store.AddAsync(sha256, context.Request.Body, context.Request.ContentLength, context.RequestAborted);
                return answer.Outcome switch
                {
                    BlobOutcome.Stored => Results.StatusCode(StatusCodes.Status201Created),
                    BlobOutcome.Present => Results.NoContent(),
                    BlobOutcome.Corrupt => throw new RestException(StatusCodes.Status400BadRequest, "corrupt", answer.Message),
                    BlobOutcome.TooLarge => throw new RestException(StatusCodes.Status413PayloadTooLarge, "too-large", answer.Message),
                    BlobOutcome.QuotaFull => throw new RestException(StatusCodes.Status507InsufficientStorage, "quota-full", answer.Message),
                    BlobOutcome.DiskFull => throw new RestException(StatusCodes.Status507InsufficientStorage, "disk-full", answer.Message),
                    _ => throw RestException.Busy(answer.Message),
                };
            })
            .WithName("putBlob").WithSummary("Stores a blob: the body must have the SHA-256 in the address. 201 when it is new, 204 when it was here.")
            .Accepts<byte[]>("application/octet-stream").Produces(201).Produces(204).Produces<ErrorInfo>(400).Produces<ErrorInfo>(413).Produces<ErrorInfo>(507);

        routes.MapPost("/blobs/missing", (BlobList question) =>
            {
                if (question.Hashes.IsDefault)
                {
                    throw RestException.Invalid("The body must read {\"hashes\": [\"…\"]}.");
                }
                if (question.Hashes.Length > MaximumQuestion)
                {
                    throw RestException.Invalid($"{question.Hashes.Length} hashes are asked for: at most {MaximumQuestion} at a time.");
                }
                foreach (var hash in question.Hashes)
                {
                    RequireHash(hash);
                }
                return new BlobList(store.Missing(question.Hashes));
            })
            .WithName("missingBlobs").WithSummary("Which of these blobs are lacking.").Produces<ErrorInfo>(400);
    }

    private static async Task SendAsync(BlobStore store, string hash, HttpContext context)
    {
        await using var file = store.Open(hash) ?? throw NotHere(hash);
        context.Response.ContentType = "application/octet-stream";
        context.Response.ContentLength = file.Length;
        context.Response.Headers.ETag = $"\"{hash}\"";
        if (!await store.CopyAsync(hash, file, context.Response.Body, context.RequestAborted))
        {
            // The length was sent already; breaking the connection is the one way left to say that these bytes are no good.
            context.Abort();
        }
    }

    private static string RequireHash(string? text) => text is not null && BlobStore.IsHash(text)
        ? text
        : throw RestException.Invalid($"'{text}' is not a blob's name: it must be a SHA-256 in 64 lower-case hexadecimal digits.");

    private static RestException NotHere(string hash) => RestException.NotFound($"Blob {hash} is not in the store: its driver uploads it with PUT /api/v1/blobs/{hash}.");
}
