using System.IO.Compression;
using System.Text;
using CsCheck;
using Xunit;
using Yarnish.Executor;
using Yarnish.Sources;
using Yarnish.Tests.Collections;

namespace Yarnish.Tests.Sources;

/// <summary>Reading text: whatever the splits, every line is read once.</summary>
public sealed class TextTests(IsolatedSession isolated) : IClassFixture<IsolatedSession>, IDisposable
{
    private readonly YarnishSession session = isolated.Session;
    private readonly string directory = Directory.CreateTempSubdirectory("yarnish-text").FullName;

    public void Dispose() => Directory.Delete(directory, recursive: true);

    private string Write(string name, string content)
    {
        var path = Path.Combine(directory, name);
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        File.WriteAllText(path, content, new UTF8Encoding(false));
        return path;
    }

    [Fact]
    public void Splits_at_any_byte_read_every_line_once() => Gen.Select(
        Gen.Int[0, 5].Select(static index => new[] { "", "a", "bc", "déf", "\r", "long line with words" }[index]).Array[0, 12], Gen.Bool.Select(static windows => windows ? "\r\n" : "\n"), Gen.Bool).Sample(
        (lines, newLine, lastNewLine) =>
        {
            var path = Write($"{Guid.NewGuid():N}.txt", string.Join(newLine, lines) + (lastNewLine && lines.Length > 0 ? newLine : ""));
            var text = File.ReadAllText(path);
            var expected = text.Split('\n').Select(static line => line.EndsWith('\r') ? line[..^1] : line).ToList();
            if (text.Length == 0 || text[^1] == '\n')
            {
                expected.RemoveAt(expected.Count - 1);
            }
            var whole = FileSplit.Whole(new FileInfo(path));

            // Every pair of splits, and splits of one byte each.
            Assert.Equal(expected, Lines(whole));
            for (var at = 1L; at < whole.Length; at++)
            {
                Assert.Equal(expected, [.. Lines(whole with { Length = at }), .. Lines(whole with { Offset = at, Length = whole.Length - at })]);
            }
            Assert.Equal(expected, Enumerable.Range(0, (int)whole.Length).SelectMany(at => Lines(whole with { Offset = at, Length = 1 })));
        }, iter: 200);

    private static List<string> Lines(FileSplit split)
    {
        var read = new List<string>();
        if (split.Length > 0)
        {
            using var stream = SourceStream.OpenLines(split, new TaskCounters());
            using var lines = new LineReader(stream);
            while (lines.MoveNext())
            {
                Assert.Equal(lines.Line, File.ReadAllBytes(split.Path).AsSpan((int)lines.Offset, lines.Line.Length));
                read.Add(Encoding.UTF8.GetString(lines.Line));
            }
        }
        return read;
    }

    [Fact]
    public void A_line_longer_than_the_limit_is_an_error_that_names_file_and_place()
    {
        var path = Write("long.txt", "short\n" + new string('x', 200_000) + "\n");
        using var stream = SourceStream.OpenLines(FileSplit.Whole(new FileInfo(path)), new TaskCounters());
        using var lines = new LineReader(stream, maximumLineBytes: 1 << 16);
        Assert.True(lines.MoveNext());

        var error = Assert.Throws<InvalidDataException>(() => lines.MoveNext());

        Assert.Contains($"{path}: the line at byte 6 is longer than", error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(FileCompression.Gzip)]
    [InlineData(FileCompression.Brotli)]
    [InlineData(FileCompression.Zstandard)]
    public async Task A_compressed_file_that_was_cut_off_anywhere_or_is_none_fails_and_is_named(FileCompression compression)
    {
        using var packed = new MemoryStream();
        await using (var pack = CompressedFiles.Pack(packed, compression))
        {
            for (var i = 0; i < 2_000; i++)
            {
                await pack.WriteAsync(Encoding.UTF8.GetBytes($"line {i * 7919L % 1_000_003}\n"));
            }
        }
        var whole = packed.ToArray();
        var path = Path.Combine(directory, "file.txt" + CompressedFiles.ExtensionOf(compression));
        File.WriteAllBytes(path, whole);
        Assert.Equal(2_000, CompressedLines(path));

        foreach (var bytes in Enumerable.Range(1, 40).Select(part => whole[..(whole.Length * part / 41)]).Append(whole[..^1]).Append("this is text\n"u8.ToArray()))
        {
            File.WriteAllBytes(path, bytes);

            var error = Assert.Throws<InvalidDataException>(() => CompressedLines(path));

            Assert.Contains($"{path} is no whole {CompressedFiles.NameOf(compression)} file", error.Message, StringComparison.Ordinal);
        }
    }

    private static int CompressedLines(string path)
    {
        using var stream = SourceStream.OpenLines(FileSplit.Whole(new FileInfo(path)), new TaskCounters());
        using var lines = new LineReader(stream);
        var count = 0;
        while (lines.MoveNext())
        {
            count++;
        }
        return count;
    }

    [Theory]
    [InlineData(FileCompression.None)]
    [InlineData(FileCompression.Zstandard)]
    public void Lines_and_bytes_are_counted_as_they_are_in_the_file(FileCompression compression)
    {
        var path = Path.Combine(directory, "counted.txt" + CompressedFiles.ExtensionOf(compression));
        using (var file = File.Create(path))
        using (var pack = CompressedFiles.Pack(file, compression))
        {
            pack.Write(Encoding.UTF8.GetBytes(string.Concat(Enumerable.Range(0, 10_000).Select(static i => $"{i}\r\n"))));
        }
        var counters = new TaskCounters();

        Assert.Equal(Enumerable.Range(0, 10_000).Select(static i => $"{i}"), SourceHarness.Read(new TextOperator(null), counters, FileSplit.Whole(new FileInfo(path))));

        Assert.Equal((10_000, new FileInfo(path).Length), (counters.InputRows, counters.InputBytes));
    }

    [Fact]
    public async Task Markers_and_unfinished_output_are_passed_over_unless_named()
    {
        Write("out/part-00000.txt", "one\n");
        Write("out/_SUCCESS", "");
        Write("out/.hidden", "no\n");
        Write("out/_temporary-1/attempts/00000.1", "no\n");
        Write("out/deep/part-00000.txt", "two\n");

        Assert.Equal(["one"], await session.ReadText(Path.Combine(directory, "out")).CollectAsync());
        Assert.Equal(["one"], await session.ReadText(Path.Combine(directory, "out", "*")).CollectAsync());
        Assert.Equal(["one", "two"], (await session.ReadText(Path.Combine(directory, "out", "**")).CollectAsync()).Order());
        Assert.Equal(["no"], await session.ReadText(Path.Combine(directory, "out", "_temporary-1", "**")).CollectAsync());
        Assert.Equal(["no"], await session.ReadText(Path.Combine(directory, "out", ".hid*")).CollectAsync());
    }

    [Theory]
    [InlineData(0, 6_000_000)]
    [InlineData(1_000_000, 4_000_000)]
    public void A_file_that_is_shortened_while_it_is_read_fails_with_its_name(long offset, long length)
    {
        var path = Write("shrinking.txt", string.Concat(Enumerable.Repeat("a line of text\n", 400_000)));
        using var stream = SourceStream.OpenLines(FileSplit.Whole(new FileInfo(path)) with { Offset = offset, Length = length }, new TaskCounters());
        using var lines = new LineReader(stream);
        Assert.True(lines.MoveNext());
        using (var file = new FileStream(path, FileMode.Open, FileAccess.Write, FileShare.ReadWrite))
        {
            file.SetLength(3_000_000);
        }

        var error = Assert.Throws<IOException>(() =>
        {
            while (lines.MoveNext())
            {
            }
        });

        Assert.Contains($"{path} was shortened while it was read: it ends at byte 3000000", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_file_that_changes_before_the_job_fails_it_with_its_name()
    {
        var path = Write("changing.txt", "before\n");
        var lines = session.ReadText(path);
        File.AppendAllText(path, "after\n");

        var error = await Assert.ThrowsAsync<YarnishJobException>(() => lines.CountAsync());

        Assert.Contains($"{path} has changed since the collection was made: it had 7 bytes", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Text_in_other_encodings_is_read_and_what_is_none_is_an_error_where_wanted()
    {
        File.WriteAllBytes(Path.Combine(directory, "latin.txt"), Encoding.Latin1.GetBytes("Gärten\nÜber\n"));
        var path = Path.Combine(directory, "latin.txt");

        Assert.Equal(["Gärten", "Über"], await session.ReadText(path, encoding: Encoding.Latin1).CollectAsync());
        Assert.Equal(["G\uFFFDrten", "\uFFFDber"], await session.ReadText(path).CollectAsync());
        var error = await Assert.ThrowsAsync<YarnishJobException>(() => session.ReadText(path, encoding: new UTF8Encoding(false, throwOnInvalidBytes: true)).CountAsync());
        Assert.Contains($"{path}: the line at byte 0 is not utf-8", error.Message, StringComparison.Ordinal);
        Assert.Throws<ArgumentException>(() => session.ReadText(path, encoding: Encoding.Unicode));
        File.WriteAllText(path, "wide\n", Encoding.Unicode);
        error = await Assert.ThrowsAsync<YarnishJobException>(() => session.ReadText(path).CountAsync());
        Assert.Contains($"{path} is UTF-16", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_gzip_file_that_was_cut_off_or_is_none_fails_the_job_and_is_named()
    {
        using var whole = new MemoryStream();
        await using (var gzip = new GZipStream(whole, CompressionLevel.Fastest, leaveOpen: true))
        {
            for (var i = 0; i < 100_000; i++)
            {
                await gzip.WriteAsync(System.Text.Encoding.UTF8.GetBytes($"line {i * 7919L % 1_000_003}\n"));
            }
        }
        foreach (var (name, bytes) in new[] { ("cut.gz", whole.ToArray()[..^1000]), ("none.gz", "this is text\n"u8.ToArray()) })
        {
            var path = Path.Combine(directory, name);
            await File.WriteAllBytesAsync(path, bytes);

            var error = await Assert.ThrowsAsync<YarnishJobException>(() => session.ReadText(path).CountAsync());

            Assert.Contains($"{path} is no whole gzip file", error.Message, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void A_directory_without_files_says_so()
    {
        var empty = Directory.CreateDirectory(Path.Combine(directory, "empty")).FullName;

        var error = Assert.Throws<FileNotFoundException>(() => session.ReadText(empty));

        Assert.Contains($"the directory '{empty}' holds no file", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Files_directories_globs_and_gzip_are_read()
    {
        Write("a.txt", "one\ntwo\n");
        Write("deep/er/b.txt", "three");
        Write("deep/c.log", "not me");
        await using (var file = File.Create(Path.Combine(directory, "deep", "d.txt.gz")))
        await using (var gzip = new GZipStream(file, CompressionLevel.Fastest))
        {
            await gzip.WriteAsync("four\nfive"u8.ToArray());
        }

        Assert.Equal(["one", "two"], await session.ReadText(Path.Combine(directory, "a.txt")).CollectAsync());
        Assert.Equal(["one", "two"], await session.ReadText(directory).CollectAsync());
        Assert.Equal(["one", "three", "two"], (await session.ReadText(Path.Combine(directory, "**", "*.txt")).CollectAsync()).Order());
        Assert.Equal(["four", "five"], await session.ReadText(Path.Combine(directory, "d??p", "*.gz")).CollectAsync());
        Assert.Equal(3, await session.ReadText([Path.Combine(directory, "a.txt"), Path.Combine(directory, "*", "*.log")]).CountAsync());
    }

    [Fact]
    public void A_path_that_names_nothing_is_refused_at_once()
    {
        var error = Assert.Throws<FileNotFoundException>(() => session.ReadText(Path.Combine(directory, "absent", "*.txt")));

        Assert.Contains("names no file", error.Message, StringComparison.Ordinal);
        Assert.Contains("absent", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_file_that_vanishes_before_the_job_fails_it_with_its_name()
    {
        var path = Write("gone.txt", "x");
        var lines = session.ReadText(path);
        File.Delete(path);

        var error = await Assert.ThrowsAsync<YarnishJobException>(() => lines.CountAsync());

        Assert.Contains("gone.txt", error.Message, StringComparison.Ordinal);
    }
}
