using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;
using Xunit;
using Yarnish.Tests.Collections;

namespace Yarnish.Tests.Sources;

/// <summary>JSON lines: what is no row is told with its place, or left out and counted.</summary>
public sealed class JsonLinesTests(IsolatedSession isolated) : IClassFixture<IsolatedSession>, IDisposable
{
    private readonly YarnishSession session = isolated.Session;
    private readonly string directory = Directory.CreateTempSubdirectory("yarnish-json").FullName;

    public void Dispose() => Directory.Delete(directory, recursive: true);

    internal sealed record Visit(string Page, int Seconds, double? Score = null);

    internal sealed record Twice([property: JsonPropertyName("x")] int A, [property: JsonPropertyName("x")] int B);

    private string Write(string content)
    {
        var path = Path.Combine(directory, "visits.jsonl");
        File.WriteAllText(path, content, new UTF8Encoding(false));
        return path;
    }

    [Fact]
    public async Task Rows_are_read_whatever_the_case_of_names_and_blank_lines_do_not_count()
    {
        var path = Write("{\"Page\":\"/\",\"seconds\":3}\r\n\n  \t\n{\"page\":\"/ä\",\"SECONDS\":4,\"score\":NaN,\"more\":[1]}\n".Replace("NaN", "\"NaN\"", StringComparison.Ordinal));

        Assert.Equal([new Visit("/", 3), new Visit("/ä", 4, double.NaN)], await session.ReadJsonLines<Visit>(path).CollectAsync());
        Assert.Equal(new[] { 3, 4 }, await session.ReadJsonLines<JsonElement>(path).Select(static row => row.EnumerateObject().Count() > 2 ? 4 : 3).CollectAsync());
    }

    [Fact]
    public async Task A_malformed_line_fails_with_file_place_and_text()
    {
        var path = Write("{\"Page\":\"/\",\"Seconds\":3}\n{\"Page\":\"/x\",\"Seconds\":\"long\"}\n");

        var error = await Assert.ThrowsAsync<YarnishJobException>(() => session.ReadJsonLines<Visit>(path).CountAsync());

        Assert.Contains($"{path}, line 2 (byte 25): ", error.Message, StringComparison.Ordinal);
        Assert.Contains("In: '{\"Page\":\"/x\",\"Seconds\":\"long\"}'", error.Message, StringComparison.Ordinal);
        Assert.Contains("MalformedRows.Skip", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Malformed_lines_are_left_out_when_wanted()
    {
        var path = Write("{\"Page\":\"/\",\"Seconds\":3}\nnonsense\n{\"Page\":\"/cut\n\u0001\n{\"Page\":\"/b\",\"Seconds\":5}\n");

        Assert.Equal(new[] { 3, 5 }, await session.ReadJsonLines<Visit>(path, MalformedRows.Skip).Select(static visit => visit.Seconds).CollectAsync());
    }

    [Fact]
    public async Task Options_of_the_user_are_made_in_the_tasks()
    {
        var path = Write("{\"pa_ge\":1}\n{\"page_name\":\"/\",\"seconds\":7}\n");

        Assert.Equal(7, (await session.ReadJsonLines<Visit>(path, options: static () => new JsonSerializerOptions { PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower }).CollectAsync())[1].Seconds);
    }

    [Fact]
    public void A_type_that_is_no_json_is_refused_at_the_call()
    {
        var error = Assert.Throws<ArgumentException>(() => session.ReadJsonLines<Twice>(Write("1")));

        Assert.Contains("ReadJsonLines", error.Message, StringComparison.Ordinal);
    }
}
