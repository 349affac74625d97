using System.Text;
using CsCheck;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;
using Yarnish.NodeAgent.Logs;
using Yarnish.NodeAgent.Node;
using Yarnish.Protocol;

namespace Yarnish.Tests.NodeAgent;

/// <summary>Logs by offset, rotation and retention.</summary>
public sealed class ContainerLogsTests : IDisposable
{
    private const int Unit = 64 * 1024;

    private readonly string root = Directory.CreateTempSubdirectory("yarnish-logs-").FullName;

    public void Dispose() => Directory.Delete(root, recursive: true);

    [Fact]
    public void Whatever_is_written_and_rotated_what_is_kept_reads_as_it_was_written() =>
        Gen.Select(Gen.Int[0, 3 * Unit].Array[1, 12], Gen.Int[2, 5]).Sample((sizes, files) =>
        {
            var directory = Directory.CreateDirectory(Path.Combine(root, Guid.NewGuid().ToString("n"))).FullName;
            var logs = new ContainerLogs(Unit, files, NullLogger<ContainerLogs>.Instance);
            var written = new List<byte>();
            foreach (var size in sizes)
            {
                var bytes = Enumerable.Range(written.Count, size).Select(i => (byte)(i * 31 >> 3)).ToArray();
                // Opened anew each time: .NET's own append remembers where the end was, that of a shell's >> does not.
                using (var file = new FileStream(Path.Combine(directory, "stdout"), FileMode.Append))
                {
                    file.Write(bytes);
                }
                written.AddRange(bytes);
                logs.Rotate(directory);

                var kept = new List<byte>();
                var part = logs.Read(directory, "stdout", 0, ContainerLogs.MaximumRead);
                var start = part.Start;
                while (part.Bytes.Length > 0)
                {
                    kept.AddRange(part.Bytes.Span);
                    part = logs.Read(directory, "stdout", part.Next, ContainerLogs.MaximumRead);
                }
                Assert.Equal(written.Count, part.End);
                Assert.True(written.Skip((int)start).SequenceEqual(kept), "not what was written");
                Assert.True(Directory.GetFiles(directory).Length <= files, "too many files");
            }
            Directory.Delete(directory, recursive: true);
        }, iter: 30);

    [Theory]
    [InlineData(0, 3, "abc", 0)]
    [InlineData(2, 100, "cdef", 2)]
    [InlineData(-2, 100, "ef", 4)]
    [InlineData(-100, 100, "abcdef", 0)]
    [InlineData(100, 100, "", 6)]
    [InlineData(0, -1, "", 0)]
    public void A_part_is_named_by_its_offset_or_from_the_end(long offset, int limit, string text, long start)
    {
        File.WriteAllText(Path.Combine(root, "stderr"), "abcdef");

        var part = new ContainerLogs(Unit, 2, NullLogger<ContainerLogs>.Instance).Read(root, "stderr", offset, limit);

        Assert.Equal((text, start, 6L), (Encoding.UTF8.GetString(part.Bytes.Span), part.Start, part.End));
    }

    [Fact]
    public void A_log_that_is_not_there_is_empty() =>
        Assert.Equal(0, new ContainerLogs(Unit, 2, NullLogger<ContainerLogs>.Instance).Read(Path.Combine(root, "missing"), "stdout", 5, 100).End);

    [Fact]
    public void Logs_of_ended_containers_go_after_their_time_and_the_oldest_when_they_are_too_many()
    {
        using var directory = DataDirectory.Open(Path.Combine(root, "data"));
        var now = DateTimeOffset.UtcNow;
        string Log(int container, double hoursAgo, int bytes)
        {
            var path = Directory.CreateDirectory(directory.ContainerLogs(new ApplicationId($"app-{container % 2}"), new ContainerId(1, container))).FullName;
            File.WriteAllBytes(Path.Combine(path, "stdout"), new byte[bytes]);
            File.SetLastWriteTimeUtc(Path.Combine(path, "stdout"), now.UtcDateTime.AddHours(-hoursAgo));
            return path;
        }
        var live = Log(1, 100, 1_000_000);
        var recent = Log(2, 1, 60);
        var older = Log(3, 2, 60);
        var old = Log(4, 50, 1);

        var removed = LogRetention.Apply(directory, new HashSet<ContainerId> { new(1, 1) }, TimeSpan.FromHours(48), 100, now);

        Assert.Equal((2, true, true, false, false), (removed, Directory.Exists(live), Directory.Exists(recent), Directory.Exists(older), Directory.Exists(old)));
    }
}
