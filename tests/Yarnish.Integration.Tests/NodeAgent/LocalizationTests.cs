using Xunit;
using Yarnish.Protocol;

namespace Yarnish.Integration.Tests.NodeAgent;

/// <summary>Files by content: fetched once, verified, shared, never trusted.</summary>
[Trait("Category", "Processes")]
public sealed class LocalizationTests
{
    [Fact]
    public async Task Two_containers_share_one_cached_file_which_is_fetched_once()
    {
        await using var given = await GivenAgent.StartAsync();
        var file = given.File("lib/data.txt", "shared content");
        var first = await given.LaunchAsync(With(given.Shell("cat lib/data.txt; sleep 1000"), file));
        var second = await given.LaunchAsync(With(given.Shell("cat lib/data.txt; sleep 1000"), file with { Path = "other.txt" }, file));
        await given.StartedAsync(first);
        await given.StartedAsync(second);

        Assert.Equal(1, given.StoreRequests);
        Assert.Equal(2, given.Agent.Cache.UsesOf(file.Sha256));
        // A hard link: the same file by another name, so truncating one would show in the other; link(2) to itself says "exists".
        var links = Inode(Path.Combine(given.Work(first), "lib/data.txt"));
        Assert.Equal(links, Inode(Path.Combine(given.Work(second), "other.txt")));
        Assert.Equal(links, Inode(given.Agent.Cache.PathOf(file.Sha256)));

        await given.SendAsync(new StopContainer(1, first, ContainerExitCause.Released, 0, ""));
        await given.ExitAsync(first);
        await GivenAgent.EventuallyAsync(() => given.Agent.Cache.UsesOf(file.Sha256) == 1, "the first lets go");
    }

    [Fact]
    public async Task An_executable_file_runs()
    {
        await using var given = await GivenAgent.StartAsync();

        var id = await given.LaunchAsync(With(given.Command("bin/tool", "a b", "c"), given.File("bin/tool", "#!/bin/sh\necho \"$1|$2|$#\"\n", executable: true)));

        Assert.Equal(ContainerExitCause.Completed, (await given.ExitAsync(id)).Cause);
        Assert.Equal("a b|c|2\n", await given.LogAsync(id, "stdout"));
    }

    [Fact]
    public async Task A_file_that_is_not_what_its_name_says_is_refused_in_words_and_never_kept()
    {
        await using var given = await GivenAgent.StartAsync();
        var file = given.File("data", "right");
        given.Corrupt(file);

        var exit = await given.ExitAsync(await given.LaunchAsync(With(given.Shell("true"), file)));

        Assert.Equal((ContainerExitCause.LocalizationFailed, -1), (exit.Cause, exit.ExitCode));
        Assert.Contains($"instead of {file.Sha256}", exit.Diagnostics, StringComparison.Ordinal);
        Assert.Contains("the copy there is corrupt", exit.Diagnostics, StringComparison.Ordinal);
        Assert.False(File.Exists(given.Agent.Cache.PathOf(file.Sha256)));
        Assert.Equal(0, given.Agent.Cache.Count);
    }

    [Fact]
    public async Task A_file_that_nobody_has_fails_in_words_and_names_who_was_asked()
    {
        await using var given = await GivenAgent.StartAsync();
        var missing = new LaunchFile("data", new string('a', 64), 5);

        var exit = await given.ExitAsync(await given.LaunchAsync(With(given.Shell("true"), missing)));

        Assert.Equal(ContainerExitCause.LocalizationFailed, exit.Cause);
        Assert.Contains($"{given.StoreUrl}/api/v1/blobs/{missing.Sha256} answered 404", exit.Diagnostics, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_container_that_scribbles_over_its_file_does_not_harm_the_next_one()
    {
        await using var given = await GivenAgent.StartAsync();
        var file = given.File("settings", "original");
        await given.ExitAsync(await given.LaunchAsync(With(given.Shell("chmod u+w settings; printf scribble >settings"), file)));

        var id = await given.LaunchAsync(With(given.Shell("cat settings"), file));

        Assert.Equal(ContainerExitCause.Completed, (await given.ExitAsync(id)).Cause);
        Assert.Equal("original", await given.LogAsync(id, "stdout"));
        Assert.Equal(2, given.StoreRequests);
    }

    [Theory]
    [InlineData("../escape")]
    [InlineData("/etc/escape")]
    [InlineData("a/../../escape")]
    [InlineData("a/./b")]
    [InlineData("a//b")]
    [InlineData("a\\b")]
    [InlineData("")]
    [InlineData("..")]
    public async Task A_path_that_leaves_the_working_directory_is_refused(string path)
    {
        await using var given = await GivenAgent.StartAsync();

        var exit = await given.ExitAsync(await given.LaunchAsync(With(given.Shell("true"), given.File(path, "evil"))));

        Assert.Equal(ContainerExitCause.LocalizationFailed, exit.Cause);
        Assert.Contains("must be relative, with forward slashes, and stay in the working directory", exit.Diagnostics, StringComparison.Ordinal);
        Assert.Equal(0, given.StoreRequests);
    }

    [Fact]
    public async Task A_peer_serves_what_it_has()
    {
        await using var given = await GivenAgent.StartAsync();
        await using var peer = await GivenAgent.StartAsync();
        var file = peer.File("data", "from a peer");
        await peer.ExitAsync(await peer.LaunchAsync(With(peer.Shell("true"), file)));

        var id = await given.LaunchAsync(With(given.Shell("cat data"), file) with { BlobSources = ["http://127.0.0.1:1", peer.Agent.Identity.Url] });

        Assert.Equal(ContainerExitCause.Completed, (await given.ExitAsync(id)).Cause);
        Assert.Equal("from a peer", await given.LogAsync(id, "stdout"));
    }

    [Fact]
    public async Task What_is_in_use_stays_and_the_longest_unused_goes_first()
    {
        await using var given = await GivenAgent.StartAsync(options => options.CacheBytes = 250);
        LaunchFile[] files = [.. Enumerable.Range(0, 4).Select(i => given.File("f", new string((char)('a' + i), 100)))];
        var held = await given.LaunchAsync(With(given.Shell("sleep 1000"), files[0]));
        await given.StartedAsync(held);
        foreach (var file in files[1..])
        {
            var id = await given.LaunchAsync(With(given.Shell("true"), file));
            await given.ExitAsync(id);
            await GivenAgent.EventuallyAsync(() => given.Agent.Cache.UsesOf(file.Sha256) == 0, "it is released");
        }

        Assert.Equal([true, false, false, true], files.Select(file => File.Exists(given.Agent.Cache.PathOf(file.Sha256))));
        Assert.True(given.Agent.Cache.Bytes <= 250);
    }

    private static long Inode(string path)
    {
        using var process = System.Diagnostics.Process.Start(new System.Diagnostics.ProcessStartInfo("stat", ["-c", "%i", path]) { RedirectStandardOutput = true })!;
        return long.Parse(process.StandardOutput.ReadToEnd());
    }

    private static LaunchContainer With(LaunchContainer launch, params LaunchFile[] files) => launch with { Launch = launch.Launch with { Files = [.. files] } };
}
