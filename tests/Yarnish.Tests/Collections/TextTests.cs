using System.IO.Compression;
using System.Text;
using CsCheck;
using Xunit;
using Yarnish.Sources;

namespace Yarnish.Tests.Collections;

/// <summary>Reading and writing text: whatever the splits, every line is read once.</summary>
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
    public void Splits_at_any_byte_read_every_line_once() => Gen.Select(Gen.Int[0, 5].Select(static index => new[] { "", "a", "bc", "déf", "\r", "long line with words" }[index]).Array[0, 30], Gen.Bool, Gen.Int[1, 9]).Sample(
        (lines, lastNewLine, splits) =>
        {
            var content = Encoding.UTF8.GetBytes(string.Join("\n", lines) + (lastNewLine && lines.Length > 0 ? "\n" : ""));
            var expected = Encoding.UTF8.GetString(content).Split('\n').Select(line => line.EndsWith('\r') ? line[..^1] : line).ToList();
            if (expected[^1].Length == 0 && (content.Length == 0 || content[^1] == '\n'))
            {
                expected.RemoveAt(expected.Count - 1);
            }

            var read = new List<string>();
            for (var i = 0; i < splits; i++)
            {
                var start = content.Length * i / splits;
                var end = content.Length * (i + 1) / splits;
                if (end > start)
                {
                    var inside = start > 0;
                    read.AddRange(TextOperator.Lines(new MemoryStream(content[(inside ? start - 1 : 0)..]), end - start + (inside ? 1 : 0), inside, "test"));
                }
            }

            return expected.SequenceEqual(read);
        });

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

    [Fact]
    public async Task What_is_saved_is_read_again()
    {
        var output = Path.Combine(directory, "out");

        await session.Range(0, 1_000, 3).SaveAsTextAsync(output);

        Assert.Equal(["_SUCCESS", "part-00000", "part-00001", "part-00002"], Directory.GetFileSystemEntries(output).Select(Path.GetFileName).Order(StringComparer.Ordinal));
        Assert.Equal(Enumerable.Range(0, 1_000).Select(row => $"{row}"), await session.ReadText(output).CollectAsync());
    }

    [Fact]
    public async Task A_directory_with_content_is_never_overwritten()
    {
        Write("out/old", "precious");

        await Assert.ThrowsAsync<IOException>(() => session.Range(0, 10).SaveAsTextAsync(Path.Combine(directory, "out")));

        Assert.Equal("precious", File.ReadAllText(Path.Combine(directory, "out", "old")));
    }

    [Fact]
    public async Task A_failed_save_leaves_no_parts_and_no_success_mark()
    {
        var output = Path.Combine(directory, "failed");

        await Assert.ThrowsAsync<YarnishJobException>(() => session.Range(0, 10, 1).Select(static row => row == 9 ? throw new FormatException() : row).SaveAsTextAsync(output));

        Assert.Empty(Directory.GetFileSystemEntries(output));
    }
}
