using System.Text;
using System.Text.Json.Serialization;
using Xunit;
using Yarnish.Executor;
using Yarnish.Sources;
using Yarnish.Tests.Collections;

namespace Yarnish.Tests.Sources;

/// <summary>CSV: columns by name, nulls and empty text apart, places of errors, splits only where they are safe.</summary>
public sealed class CsvTests(IsolatedSession isolated) : IClassFixture<IsolatedSession>, IDisposable
{
    private readonly YarnishSession session = isolated.Session;
    private readonly string directory = Directory.CreateTempSubdirectory("yarnish-csv").FullName;

    public void Dispose() => Directory.Delete(directory, recursive: true);

    internal sealed record Person(int Id, string? Name, string Town = "nowhere", double? Height = 1.8);

    internal sealed class Settable
    {
        [JsonPropertyName("first name")]
        public string First { get; set; } = "";

        public DayOfWeek Day { get; init; }

        public DateTime When { get; set; }

        [JsonIgnore]
        public Func<int>? Ignored { get; set; }

        public int Twice => First.Length * 2;
    }

    private string Write(string content, string name = "people.csv")
    {
        var path = Path.Combine(directory, name);
        File.WriteAllText(path, content, new UTF8Encoding(false));
        return path;
    }

    [Fact]
    public async Task Columns_are_found_by_name_whatever_their_order_in_each_file()
    {
        Write("Name,Id,Town\r\nAda,1,London\r\n", "a.csv");
        Write("\uFEFFid;extra;NAME\n2;x;\"Grace \"\"Hopper\"\"\"\n3;;\n4;;\"\"\n".Replace(';', ','), "b.csv");

        Assert.Equal(
            [new Person(1, "Ada", "London"), new Person(2, "Grace \"Hopper\""), new Person(3, null), new Person(4, "")],
            await session.ReadCsv<Person>(directory).CollectAsync());
    }

    [Fact]
    public async Task Properties_enums_and_times_are_set_by_their_json_names()
    {
        var path = Write("day,first name,When\nsunday,\"a\nb\",2024-02-29T12:00:00.0000000Z\n");

        var row = Assert.Single(await session.ReadCsv<Settable>(path).Select(static row => $"{row.First}|{row.Day}|{row.When:O}").CollectAsync());

        Assert.Equal("a\nb|Sunday|2024-02-29T12:00:00.0000000Z", row);
    }

    [Fact]
    public async Task Tuples_and_plain_fields_need_no_names()
    {
        var path = Write("1;x y\n2;\n");
        var options = new CsvOptions { Separator = ';', HasHeader = false };

        Assert.Equal([(1, "x y"), (2, null)], await session.ReadCsv<(int, string?)>(path, options).CollectAsync());
        Assert.Equal(["1|x y", "2|null"], await session.ReadCsv<string?[]>(path, options).Select(static row => $"{row[0]}|{row[1] ?? "null"}").CollectAsync());
    }

    [Theory]
    [InlineData("Id,Name\n1,a\nx,b\n", "line 3 (byte 12): Column 'Id' is no Int32", "'x,b'")]
    [InlineData("Id,Name\n1,a\n,b\n", "line 3 (byte 12): Column 'Id' is empty", "',b'")]
    [InlineData("Id,Name\n1,a\n2\n", "line 3 (byte 12): The row has 1 fields where 2 are expected", "'2'")]
    [InlineData("Id,Name\n1,a\n2,b\"c\n", "line 3", "2,b\"c")]
    [InlineData("Id,Name\n1,a\n2,\"b\" c\n", "line 3", "Text follows the closing quote")]
    [InlineData("Id,Name\n1,a\n2,\"b\n3,c\n", "line 3", "never closed")]
    [InlineData("Id,Na\"me\n1,a\n2,b\n", "line 1", "The header is malformed: StrayQuote")]
    [InlineData("Id,\"Name\n1,a\n2,b\n", "line 1", "The header is malformed: UnterminatedQuote")]
    [InlineData("Id,Name,Id\n1,a,2\n", "has two columns 'Id'", "Correct the header")]
    [InlineData("Ident,Name\n1,a\n", "has no column 'Id'; it has: 'Ident', 'Name'", "[JsonPropertyName]")]
    public async Task What_is_no_row_fails_with_file_place_and_text(string content, string place, string text)
    {
        var path = Write(content);

        var error = await Assert.ThrowsAsync<YarnishJobException>(() => session.ReadCsv<Person>(path).CountAsync());

        Assert.Contains(path, error.Message, StringComparison.Ordinal);
        if (place == "line 1")
        {
            // A header that is passed over would make a header of the first row.
            await Assert.ThrowsAsync<YarnishJobException>(() => session.ReadCsv<string[]>(path, malformed: MalformedRows.Skip).CountAsync());
        }
        Assert.Contains(place, error.Message, StringComparison.Ordinal);
        Assert.Contains(text, error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Malformed_rows_are_left_out_when_wanted_but_a_quote_that_is_never_closed_hides_too_much()
    {
        var path = Write("Id,Name\n1,a\nx,b\n2,q\"r\n3\n4,d\n");
        Assert.Equal(new[] { 1, 4 }, await session.ReadCsv<Person>(path, malformed: MalformedRows.Skip).Select(static person => person.Id).CollectAsync());

        File.WriteAllText(path, "Id,Name\n1,a\n2,\"b\n3,c\n4,d\n");
        var error = await Assert.ThrowsAsync<YarnishJobException>(() => session.ReadCsv<Person>(path, malformed: MalformedRows.Skip).CountAsync());
        Assert.Contains("never closed", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_row_longer_than_the_limit_names_file_and_limit()
    {
        var path = Write("Id,Name\n1," + new string('n', 100_000) + "\n");

        var error = await Assert.ThrowsAsync<YarnishJobException>(() => session.ReadCsv<Person>(path, new CsvOptions { MaximumRowBytes = 10_000 }).CountAsync());

        Assert.Contains($"{path}: ", error.Message, StringComparison.Ordinal);
        Assert.Contains("MaximumRowBytes", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Types_that_are_no_rows_are_refused_at_the_call()
    {
        var path = Write("a\n");

        Assert.Contains("Byte[]", Assert.Throws<ArgumentException>(() => session.ReadCsv<FileContent<byte[]>>(path)).Message, StringComparison.Ordinal);
        Assert.Throws<ArgumentException>(() => session.ReadCsv<int>(path));
        Assert.Throws<ArgumentException>(() => session.ReadCsv<string>(path));
        Assert.Contains("ReadCsv: fields cannot be separated by quotes", Assert.Throws<ArgumentException>(() => session.ReadCsv<Person>(path, new CsvOptions { Separator = '"' })).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Splits_at_any_byte_read_every_row_once_when_fields_have_no_line_breaks()
    {
        var path = Write("Id,Name\r\n1,\"a,b\"\r\n22,\r\n\r\n3,\"\"\r\n4444,dé\r\n5,x");
        var whole = FileSplit.Whole(new FileInfo(path));
        Person[] expected = [new(1, "a,b"), new(22, null), new(3, ""), new(4444, "dé"), new(5, "x")];

        for (var at = 1L; at < whole.Length; at++)
        {
            Assert.Equal(expected, Rows(whole with { Length = at }).Concat(Rows(whole with { Offset = at, Length = whole.Length - at })));
        }
    }

    [Fact]
    public void Splits_at_any_byte_never_read_a_line_break_in_quotes_as_rows()
    {
        var path = Write("Id,Name\n1,\"a\n2,b\n3,c\"\n4,d\n");
        var whole = FileSplit.Whole(new FileInfo(path));

        for (var at = 1L; at < whole.Length; at++)
        {
            var failures = 0;
            foreach (var split in new[] { whole with { Length = at }, whole with { Offset = at, Length = whole.Length - at } })
            {
                try
                {
                    Rows(split);
                }
                catch (InvalidDataException error)
                {
                    failures++;
                    Assert.Contains(path, error.Message, StringComparison.Ordinal);
                }
            }
            Assert.InRange(failures, 1, 2);
        }
    }

    [Fact]
    public void Rows_and_bytes_of_splits_are_counted_and_rows_that_are_left_out_too()
    {
        var path = Write("Id,Name\n" + string.Concat(Enumerable.Range(0, 100).Select(static id => id % 10 == 0 ? "no number,x\n" : $"{id},é\n")));
        var whole = FileSplit.Whole(new FileInfo(path));
        var source = new CsvOperator<Person>(new CsvOptions { MultilineFields = false }, MalformedRows.Skip);
        var counters = new TaskCounters();

        for (var at = 0L; at < whole.Length; at += 100)
        {
            Assert.All(SourceHarness.Read(source, counters, whole with { Offset = at, Length = Math.Min(100, whole.Length - at) }), static person => Assert.NotEqual(0, person.Id % 10));
        }

        Assert.Equal((90, 10, whole.Length), (counters.InputRows, counters.SkippedRows, counters.InputBytes));
    }

    private static List<Person> Rows(FileSplit split)
    {
        var source = new CsvOperator<Person>(new CsvOptions { MultilineFields = false }, MalformedRows.Fail);
        return [.. SourceHarness.Read(source, new TaskCounters(), split)];
    }
}
