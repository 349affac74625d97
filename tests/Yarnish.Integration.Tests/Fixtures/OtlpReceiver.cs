using System.Collections.Concurrent;
using System.Net;
using Google.Protobuf;

namespace Yarnish.Integration.Tests.Fixtures;

/// <summary>
/// Receives traces as Jaeger would: OTLP over HTTP with protobuf bodies (https://opentelemetry.io/docs/specs/otlp/), and decodes the fields that tests look at
/// (opentelemetry-proto, trace.proto).
/// </summary>
internal sealed class OtlpReceiver : IAsyncDisposable
{
    private readonly HttpListener listener = new();
    private readonly Task loop;

    public OtlpReceiver()
    {
        for (var port = 14318; ; port++)
        {
            try
            {
                Endpoint = $"http://127.0.0.1:{port}";
                listener.Prefixes.Clear();
                listener.Prefixes.Add(Endpoint + "/");
                listener.Start();
                break;
            }
            catch (HttpListenerException) when (port < 14_500)
            {
                // Taken: the next.
            }
        }
        loop = ReceiveAsync();
    }

    /// <summary>For <c>OTEL_EXPORTER_OTLP_ENDPOINT</c>, with <c>OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf</c>.</summary>
    public string Endpoint { get; private set; } = "";

    /// <summary>All spans so far.</summary>
    public ConcurrentQueue<ReceivedSpan> Spans { get; } = [];

    public async ValueTask DisposeAsync()
    {
        listener.Stop();
        await loop;
        listener.Close();
    }

    private async Task ReceiveAsync()
    {
        while (true)
        {
            HttpListenerContext context;
            try
            {
                context = await listener.GetContextAsync();
            }
            catch (Exception error) when (error is HttpListenerException or ObjectDisposedException)
            {
                return;
            }
            using var body = new MemoryStream();
            await context.Request.InputStream.CopyToAsync(body);
            if (context.Request.Url!.AbsolutePath.EndsWith("/v1/traces", StringComparison.Ordinal))
            {
                Decode(body.ToArray());
            }
            context.Response.StatusCode = 200;
            context.Response.Close();
        }
    }

    private void Decode(byte[] request)
    {
        foreach (var resourceSpans in Messages(request, 1))
        {
            var resource = Messages(resourceSpans, 1).SelectMany(one => Messages(one, 1)).Select(Attribute).ToDictionary(pair => pair.Key, pair => pair.Value);
            foreach (var span in Messages(resourceSpans, 2).SelectMany(scope => Messages(scope, 2)))
            {
                Spans.Enqueue(new ReceivedSpan(
                    Convert.ToHexStringLower(Messages(span, 1).Single()),
                    Convert.ToHexStringLower(Messages(span, 2).Single()),
                    Convert.ToHexStringLower(Messages(span, 4).FirstOrDefault() ?? []),
                    System.Text.Encoding.UTF8.GetString(Messages(span, 5).Single()),
                    resource,
                    Messages(span, 9).Select(Attribute).ToDictionary(pair => pair.Key, pair => pair.Value),
                    [.. Messages(span, 13).Select(link => Convert.ToHexStringLower(Messages(link, 2).Single()))]));
            }
        }
    }

    // KeyValue { key = 1, value = 2 { string_value = 1, bool_value = 2, int_value = 3, double_value = 4 } }
    private static KeyValuePair<string, string> Attribute(byte[] keyValue)
    {
        var key = System.Text.Encoding.UTF8.GetString(Messages(keyValue, 1).Single());
        var value = Messages(keyValue, 2).FirstOrDefault() ?? [];
        var input = new CodedInputStream(value);
        var text = "";
        while (input.ReadTag() is var tag and not 0)
        {
            switch (WireFormat.GetTagFieldNumber(tag))
            {
                case 1:
                    text = input.ReadString();
                    break;
                case 2 or 3:
                    text = input.ReadInt64().ToString(System.Globalization.CultureInfo.InvariantCulture);
                    break;
                case 4:
                    text = input.ReadDouble().ToString(System.Globalization.CultureInfo.InvariantCulture);
                    break;
                default:
                    input.SkipLastField();
                    break;
            }
        }
        return new(key, text);
    }

    /// <summary>The length-delimited values of one field.</summary>
    private static List<byte[]> Messages(byte[] message, int field)
    {
        var found = new List<byte[]>();
        var input = new CodedInputStream(message);
        while (input.ReadTag() is var tag and not 0)
        {
            if (WireFormat.GetTagFieldNumber(tag) == field && WireFormat.GetTagWireType(tag) == WireFormat.WireType.LengthDelimited)
            {
                found.Add(input.ReadBytes().ToByteArray());
            }
            else
            {
                input.SkipLastField();
            }
        }
        return found;
    }
}

/// <summary>A span as it arrived.</summary>
internal sealed record ReceivedSpan(
    string TraceId, string SpanId, string ParentSpanId, string Name, Dictionary<string, string> Resource, Dictionary<string, string> Attributes, string[] LinkedSpanIds)
{
    public string Service => Resource.GetValueOrDefault("service.name", "");

    public string Process => $"{Service}/{Resource.GetValueOrDefault("service.instance.id", Resource.GetValueOrDefault("process.pid", ""))}";
}
